"""Method and caveats in plain words, with the limits in force. Pure."""

from collector.judge.verdict import CONSISTENT_MBPS, MIN_DAYS, MIN_PEAK, MIN_TESTS, MIN_VALID
from collector.report.blocks import Points, Section
from collector.report.texts import ReportTexts
from xomnet.plan import PEAK_HOURS


def method(t: ReportTexts) -> Section:
    first, last = PEAK_HOURS
    points = [
        t.text(
            "Measured at the unit, by an i-Speed-like method; not a figure published by VNNIC. VNNIC does not"
            " publish the number of streams, the duration or the factor that i-Speed uses."
        ),
        t.text(
            "Figures are download speeds of useful data in Mb/s. The overhead factor is {factor}: nothing is added.",
            factor=t.number(1, 2),
        ),
        t.text(
            "A line's figure is the median of its tests in the month: half are above it, half below. The 95%"
            " interval says how far chance may move the median; tests of one day are treated as related."
        ),
        t.text(
            "MET: the lower end of the interval reaches the target. NOT MET: the upper end is below the target."
            " UNDECIDED otherwise. No single test decides."
        ),
        t.text(
            "A verdict needs at least {tests} tests that count, on at least {days} days, {peak} of them between"
            " {first} and {last} h, and {valid} of the scheduled tests. A line whose plan or port is slower"
            " than the target gets no verdict.",
            tests=MIN_TESTS,
            days=MIN_DAYS,
            peak=MIN_PEAK,
            first=first,
            last=last,
            valid=t.percent(MIN_VALID),
        ),
        t.text(
            "A test that fails while the line is down counts as 0. A test disturbed by the unit, by other"
            " traffic or by the measurement server does not count. A test that did not take place is missing,"
            " never 0. A test requested outside the schedule does not count."
        ),
        t.text(
            "A test that came later than its unit's own reports explain does not count. Neither does a test that an"
            " operator has excluded, for example while the results of a unit are in quarantine. Excluded results stay"
            " stored; 5.4 counts them by reason."
        ),
        t.text(
            "Steady, in the annex: the share of tests between {first} and {last} h that reach {part} of the"
            " target; from {part} on a line is steady. It is shown beside the verdict and does not change it.",
            first=first,
            last=last,
            part=t.percent(CONSISTENT_MBPS),
        ),
        t.text(
            "A result describes one line at one place. It does not represent the whole hamlet or the provider's"
            " whole network; a line never reaches more than its plan and its modem allow."
        ),
        t.text(
            "Mobile and fixed lines are never combined. Every figure can be recalculated from the CSV of this"
            " report, one row per line; single tests are in the CSV on each line's page."
        ),
    ]
    return Section(t.text("6. Method and caveats"), 1, [Points(points)])
