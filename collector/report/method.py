"""Method and caveats in plain words, with the limits in force. Pure."""

from collector.judge.verdict import CONSISTENT_MBPS, MIN_DAYS, MIN_PEAK, MIN_TESTS, MIN_VALID, PEAK_HOURS
from collector.report.blocks import Points, Section
from collector.report.texts import ReportTexts


def method(t: ReportTexts) -> Section:
    first, last = PEAK_HOURS
    points = [
        t.text(
            "Measured where the unit stands, by an i-Speed-like method; not a figure published by VNNIC. VNNIC"
            " publishes neither number of streams, duration nor factor of i-Speed."
        ),
        t.text(
            "The figure is the download speed in Mb/s of useful data. The overhead factor is {factor}: nothing is"
            " added.",
            factor=t.number(1, 2),
        ),
        t.text(
            "A line's figure is the median of its tests of the month: half are above it, half below. Its 95 %"
            " interval says how far chance may move it; tests of one day are taken as related to each other."
        ),
        t.text(
            "MET: even the lower end of the interval reaches the target. NOT MET: even the upper end is below it."
            " Else NOT CERTAIN. No single test decides."
        ),
        t.text(
            "A verdict needs at least {tests} tests that count, on at least {days} days, {peak} of them between"
            " {first} and {last} h, and {valid} of the schedule. A plan or a port slower than the target gives none.",
            tests=MIN_TESTS,
            days=MIN_DAYS,
            peak=MIN_PEAK,
            first=first,
            last=last,
            valid=t.percent(MIN_VALID),
        ),
        t.text(
            "A test that fails while the line is down counts as 0. A test spoilt by the unit, by others' traffic or"
            " by the measurement server does not count. A test that did not take place is missing, never 0. A test"
            " that was asked for beside the schedule does not count either."
        ),
        t.text(
            "Steady, in the annex: the share of the tests between {first} and {last} h that reach {part} of the"
            " target; a line is steady from {part} on. It stands beside the verdict, not in it.",
            first=first,
            last=last,
            part=t.percent(CONSISTENT_MBPS),
        ),
        t.text(
            "One line at one place was measured many times. That is not what all people of a hamlet get, nor the"
            " provider's whole network: a line never shows more than its plan and its modem give."
        ),
        t.text(
            "Mobile and fixed lines are never mixed. Every figure can be counted again from the CSV of this report, a"
            " row a line; the single tests are in the CSV of each line's page."
        ),
    ]
    return Section(t.text("6. Method and caveats"), 1, [Points(points)])
