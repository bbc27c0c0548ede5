"""The alert rules, as the file that Grafana provisions: from `line_state` and its sisters, written every minute.

A rule for each condition that our own alerts know (collector/alerts/conditions), and those of other things than a
line's state. How long a condition must last is the collector's to say (`alert_due`), so that its
settings hold here too.

Each looks back over ten minutes and waits some more before it fires, so that a missed minute is no alert. A line in
maintenance or acknowledged is 0, not absent: a series that vanishes is taken for a recovery. Annotations are texts for
people, in Vietnamese; Grafana expands `$labels` and `$values` in them, and nothing else in this file has a `$` but the
queries' `$timeFilter`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

import yaml

from collector.alerts.conditions import CONDITIONS, Condition
from collector.texts.texts import Texts
from grafana import influxql as q
from grafana.columns import COLUMNS
from grafana.panels import RESULTS_SOURCE
from xomnet.states import LOOKS

FOLDER = "xomnet"
EVERY = "1m"
EXPRESSION = "__expr__"
MINUTE = 60
NOW_S = 10 * MINUTE
CONDITION = "condition"

UNIT_TAGS = ("agent", "hamlet", "area")
NOT_IN_HAND = '(1 - "maintenance") * (1 - "acknowledged")'
"""0 while a person works on the line, or has acknowledged its alert: no alert, no reminder."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. It fires for each series whose last value of `trouble` is above 0; `figures` are for its message."""

    key: str
    title: str
    trouble: str
    wait: str
    severity: str
    summary: str
    description: str
    check: str
    figures: tuple[tuple[str, str], ...] = ()
    """Name in the message -> query; with the same tags as `trouble`."""
    look_back_s: int = NOW_S
    no_data: str = "KeepLast"
    error: str = "KeepLast"
    """With the database away or the collector dead nothing is known of lines: they keep their state, and the rule of
    the collector speaks."""

    def to_json(self) -> dict[str, Any]:
        data: list[dict[str, Any]] = []
        for name, query in (("trouble", self.trouble), *self.figures):
            data += [_query_node(f"{name}_series", query, self.look_back_s), _last(name, f"{name}_series")]
        return _rule(self, [*data, _above("trouble", 0)])


def _rule(rule: Rule, data: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "uid": f"xomnet-{rule.key}",
        "title": rule.title,
        "condition": CONDITION,
        "data": data,
        "noDataState": rule.no_data,
        "execErrState": rule.error,
        "for": rule.wait,
        "annotations": {"summary": rule.summary, "description": rule.description, "check": rule.check},
        "labels": {"severity": rule.severity},
        "isPaused": False,
    }


def _query_node(ref: str, query: str, look_back_s: int) -> dict[str, Any]:
    model = {
        "refId": ref,
        "datasource": {"type": "influxdb", "uid": RESULTS_SOURCE},
        "rawQuery": True,
        "query": query,
        "resultFormat": "time_series",
        "intervalMs": MINUTE * 1000,
        "maxDataPoints": 43200,
    }
    return _node(ref, RESULTS_SOURCE, model, look_back_s)


def _last(ref: str, of: str) -> dict[str, Any]:
    return _expression(ref, {"type": "reduce", "expression": of, "reducer": "last", "settings": {"mode": "dropNN"}})


def _above(of: str, value: float) -> dict[str, Any]:
    conditions = [{"type": "query", "evaluator": {"type": "gt", "params": [value]}}]
    return _expression(CONDITION, {"type": "threshold", "expression": of, "conditions": conditions})


def _expression(ref: str, model: dict[str, Any]) -> dict[str, Any]:
    source = {"type": EXPRESSION, "uid": EXPRESSION}
    return _node(ref, EXPRESSION, {"refId": ref, "datasource": source, **model}, NOW_S)


def _node(ref: str, source: str, model: dict[str, Any], look_back_s: int) -> dict[str, Any]:
    span = {"from": look_back_s, "to": 0}
    return {"refId": ref, "relativeTimeRange": span, "datasourceUid": source, "model": model}


def _of_lines(trouble: str, fields: Sequence[str]) -> str:
    newest = q.last("line_state", ("maintenance", "acknowledged", *fields), "$timeFilter", q.LINE_TAGS)
    return q.select_from(f'{trouble} * {NOT_IN_HAND} AS "trouble"', newest, by=q.LINE_TAGS)


def _figures(*fields: str) -> tuple[tuple[str, str], ...]:
    return tuple((field, q.last("line_state", (field,), "$timeFilter", q.LINE_TAGS)) for field in fields)


def _value(name: str, form: str = "%.0f") -> str:
    return f'{{{{ printf "{form}" $values.{name}.Value }}}}'


def _placeholder(field: str) -> str:
    """The last value of a field of `line_state`, in its unit."""
    match COLUMNS[field].unit:
        case "percentunit":
            return f"{{{{ humanizePercentage $values.{field}.Value }}}}"
        case "s":
            return f"{{{{ humanizeDuration $values.{field}.Value }}}}"
        case "Mbits":
            return _value(field, "%.4g")
        case _:
            return _value(field)


WHERE = "{{ $labels.hamlet }} ({{ $labels.area }}) · {{ $labels.isp }}, {{ $labels.line }}"
VI = Texts("vi")


def _of_condition(condition: Condition) -> Rule:
    """The rule of a state; its figures are the fields that its description names."""
    look, own = LOOKS[condition.state], condition.grafana
    fields = [field for _, field, _, _ in Formatter().parse(own.description) if field]
    return Rule(
        key=condition.state,
        title=f"Đường truyền {look.vi}",
        trouble=_of_lines(f'({q.STATE.is_(condition.state)}) * "alert_due"', ("state_code", "alert_due")),
        wait=own.wait,
        severity="line",
        summary=f"{look.mark} {look.vi} · {WHERE}",
        description=VI.text(own.description, **{field: _placeholder(field) for field in fields}),
        check=VI.text(own.check) + ".",
        figures=_figures(*fields),
    )


RULES = (
    *(_of_condition(condition) for condition in CONDITIONS),
    Rule(
        "latency",
        "Độ trễ cao",
        _of_lines('"latency_bad"', ("latency_bad",)),
        "10m",
        "line",
        f"◐ ĐỘ TRỄ CAO · {WHERE}",
        f"Một giờ qua: độ trễ {_value('rtt_ms')} ms.",
        "đường truyền có đang dùng hết tốc độ không; tín hiệu; nếu tốc độ vẫn đạt thì theo dõi thêm một ngày.",
        _figures("rtt_ms"),
    ),
    Rule(
        "loss",
        "Tỷ lệ mất gói cao",
        _of_lines('"loss_bad"', ("loss_bad",)),
        "10m",
        "line",
        f"◐ MẤT GÓI · {WHERE}",
        f"Một giờ qua: tỷ lệ mất gói {_value('loss_percent', '%.1f')}%.",
        "cáp và đầu nối (cố định), tín hiệu (di động); mất 100% là đường truyền đứt.",
        _figures("loss_percent"),
    ),
    Rule(
        "gap",
        "Thiếu dữ liệu",
        q.last("completeness", ("missing",), "$timeFilter", (*q.LINE, "hamlet", "area")),
        "20m",
        "data",
        "◐ THIẾU DỮ LIỆU · {{ $labels.agent }} {{ $labels.line }} ({{ $labels.hamlet }}, {{ $labels.area }})",
        f"30 ngày qua: thiếu {_value('trouble')} kết quả mà thiết bị đo đã kê khai.",
        "/api/v1/completeness nêu số hiệu; thẻ nhớ có bị thay hoặc xóa không; giữ lại nhật ký.",
        look_back_s=60 * MINUTE,  # it is written every ten minutes
    ),
    Rule(
        "unit",
        "Thiết bị đo có lỗi",
        q.last("unit_state", ("unhealthy",), "$timeFilter", UNIT_TAGS),
        "10m",
        "unit",
        "▼ THIẾT BỊ ĐO CÓ LỖI · {{ $labels.agent }} ({{ $labels.hamlet }}, {{ $labels.area }})",
        "Thiết bị đo báo có lỗi; bản tin tình trạng cuối cách đây {{ humanizeDuration $values.age_s.Value }}."
        " Lý do ở bảng «Thiết bị đo».",
        "nguồn điện (điện áp thấp), nhiệt độ, đĩa đầy, đồng hồ.",
        (("age_s", q.last("unit_state", ("age_s",), "$timeFilter", UNIT_TAGS)),),
    ),
    Rule(
        "collector",
        "Phần mềm thu thập ngừng",
        'SELECT 1 - last("up") AS "trouble" FROM "collector_state" WHERE $timeFilter',
        "2m",
        "system",
        "▼ PHẦN MỀM THU THẬP NGỪNG",
        "Mười phút qua chưa có lượt đánh giá mới: trạng thái hiển thị đã cũ. Thiết bị đo vẫn giữ kết quả.",
        "systemctl status xomnet-collector; /healthz; cơ sở dữ liệu có trả lời không; đĩa có đầy không.",
        no_data="Alerting",  # nothing written for ten minutes is what this rule is for
        error="Alerting",  # the database does not answer: nobody else will say so
    ),
)

WATCHDOG = Rule(
    "watchdog",
    "Grafana đang hoạt động",
    "",
    "0s",
    "watchdog",
    "Grafana đang hoạt động",
    "Luôn báo. Dịch vụ giám sát bên ngoài phải báo động khi không còn nhận được tin này.",
    "máy chủ Grafana: nguồn điện, mạng, dịch vụ.",
    no_data="OK",
    error="OK",
)
"""The dead man's switch: it always fires, and somebody outside counts its messages."""


def document() -> dict[str, Any]:
    """The file's content."""
    always = _rule(WATCHDOG, [_expression(CONDITION, {"type": "math", "expression": "1 == 1"})])
    group = {
        "orgId": 1,
        "name": "xomnet",
        "folder": FOLDER,
        "interval": EVERY,
        "rules": [*(rule.to_json() for rule in RULES), always],
    }
    return {"apiVersion": 1, "groups": [group]}


def text() -> str:
    """The file, in YAML."""
    head = "# Built by `make dashboards` from grafana/rules.py and collector/alerts/conditions: change those.\n"
    return head + yaml.safe_dump(document(), allow_unicode=True, sort_keys=False, width=120)
