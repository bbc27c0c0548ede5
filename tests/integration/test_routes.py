"""The table of routes: no route beside it, none undocumented, and each answers as the OpenAPI document says."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast, get_type_hints
from uuid import UUID

import httpx
import pytest
from jsonschema import Draft202012Validator, ValidationError
from msgspec import convert, json
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from collector.alerts import store as alert_store
from collector.alerts.silences.maintenance import MaintenanceRequest
from collector.commands import commands as sent_commands
from collector.commands.commands import Commands
from collector.completeness.completeness import Completeness
from collector.services import Services
from collector.store import Store
from collector.store.errors import StoreUnavailable
from collector.web import create_app, views
from collector.web.context import Context
from collector.web.openapi import document
from collector.web.page_request import PageRequest
from collector.web.parameters import NoParameters, body_type, forbids_unknown
from collector.web.responses import Answer, media_type
from collector.web.routes import OPERATIONS, PAGES, STATIC
from collector.web.routing import Operation
from tests.support.province_fixture import Heard, province
from xomnet.contract.topics import NAME_PATTERN
from xomnet.mqtt.link import Connection
from xomnet.runtime.clock import utc_now

TOKEN = "a-token-of-twenty-letters"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
COMMAND = UUID("0b0f9a3e-52f0-4a0f-9d55-1c8f3e0f0f11")
DOCUMENTED = [operation for operation in OPERATIONS if operation.documented]
DOCUMENT: dict[str, Any] = json.decode(json.encode(document()))
JSON, CSV, TEXT = "application/json", "text/csv", "text/plain"
Values = dict[str, Any]


def name(operation: Operation[Any]) -> str:
    return f"{operation.method} {operation.path}"


# --- what the collector is like when a request comes


def as_it_is(services: Services) -> Services:
    return services


def never_judged(services: Services) -> Services:
    class NeverJudged:
        latest, interval_s = None, 60.0

    return replace(services, lines=cast(Any, NeverJudged()))


def without_store(services: Services) -> Services:
    class Away:
        def __getattr__(self, _: str) -> Any:
            def read(*_: Any, **__: Any) -> Any:
                raise StoreUnavailable("connection refused", 7)

            return read

    return replace(services, store=cast(Store, Away()))


def never_counted(services: Services) -> Services:
    fresh = Completeness(services.store, services.registry, services.dead_letters, services.metrics)
    return replace(services, completeness=fresh)


def without_alerts(services: Services) -> Services:
    return replace(services, alerts=None)


def without_broker(services: Services) -> Services:
    return replace(services, agents=Heard([], "not connected"))


def with_offline_units(services: Services) -> Services:
    """The broker says at once that nobody receives a command."""

    class Broker:
        def publish(self, _topic: str, _payload: bytes) -> int:
            return 1

    commands = Commands(utc_now)

    def send() -> None:
        commands.send(cast(Connection, Broker()))
        commands.on_published(1, "No matching subscribers")

    commands.on_queued(send)
    return replace(services, commands=commands)


def with_command(services: Services) -> Services:
    commands = Commands(utc_now)
    commands.ask("nd-haihau-0012", "report", id_=COMMAND)
    return replace(services, commands=commands)


def with_too_many_commands(services: Services) -> Services:
    commands = Commands(utc_now)
    for _ in range(sent_commands.MAX_WAITING):
        commands.ask("nd-haihau-0012", "report")
    return replace(services, commands=commands)


def with_window(services: Services) -> Values:
    assert services.alerts is not None
    wanted = convert(window(), MaintenanceRequest)
    return {"id": services.alerts.store.add_window(wanted, dt.datetime.now(dt.UTC)).id}


def window(agent: str = "nd-haihau-0012") -> Values:
    until = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)).isoformat()
    return {"agent": agent, "until": until, "by": "Lan", "why": "thay bộ định tuyến"}


# --- requests


@dataclass(frozen=True)
class Case:
    """A request to an operation, and what answers it."""

    operation: str
    status: int = 200
    values: Values | Callable[[Services], Values] = field(default_factory=dict)
    """Of the path."""
    query: str = ""
    body: Values = field(default_factory=dict)
    given: Callable[[Services], Services] = as_it_is
    media: str = JSON

    def send(self, services: Services) -> httpx.Response:
        method, path = self.operation.split()
        values = self.values(services) if callable(self.values) else self.values
        with TestClient(create_app(self.given(services), TOKEN), raise_server_exceptions=False) as web:
            address = path.format(**values) + self.query
            answer: httpx.Response = web.request(method, address, headers=AUTHORISED, json=self.body or None)
            return answer


LINE, SPEED, LATENCY, OUTAGES = (
    f"GET /api/v1/lines/{{agent}}/{{line}}{end}" for end in ("", "/speed", "/latency", "/outages")
)
EVENTS = "GET /api/v1/agents/{agent}/events"
SEND, GET_COMMAND = "POST /api/v1/agents/{agent}/commands", "GET /api/v1/commands/{id}"
ACKNOWLEDGE, ADD = "POST /api/v1/lines/{agent}/{line}/acknowledge", "POST /api/v1/maintenance"
END = "DELETE /api/v1/maintenance/{id}"
BELOW, MEETING = {"agent": "nd-giaothuy-0002", "line": "4g"}, {"agent": "nd-haihau-0012", "line": "ftth"}
UNKNOWN = {"agent": "nd-nobody", "line": "4g"}
REPORT = {"name": "report", "wait_s": 0}
FILTER = "?state=short&state=silent&access=mobile&isp=Viettel&area=Nam Định"

CASES = [
    Case("GET /api/v1/lines"),
    Case("GET /api/v1/lines", query=FILTER),
    Case("GET /api/v1/lines", 503, given=never_judged),
    Case(LINE, values=MEETING),
    Case(LINE, 404, values=UNKNOWN),
    Case(LINE, 503, values=MEETING, given=never_judged),
    Case(SPEED, values=BELOW),
    Case(SPEED, values=BELOW, query="?format=csv", media=CSV),
    Case(SPEED, 404, values=UNKNOWN),
    Case(SPEED, 503, values=BELOW, given=without_store),
    Case(LATENCY, values=BELOW),
    Case(LATENCY, values=BELOW, query="?format=csv", media=CSV),
    Case(LATENCY, 404, values=UNKNOWN),
    Case(LATENCY, 503, values=BELOW, given=without_store),
    *(Case(OUTAGES, values=BELOW, query=query, media=media) for query, media in (("", JSON), ("?format=csv", CSV))),
    Case(OUTAGES, 404, values=UNKNOWN),
    Case(OUTAGES, 503, values=BELOW, given=without_store),
    *(Case(EVENTS, values=BELOW, query=query, media=media) for query, media in (("", JSON), ("?format=csv", CSV))),
    Case(EVENTS, 404, values=UNKNOWN),
    Case(EVENTS, 503, values=BELOW, given=without_store),
    Case("GET /api/v1/agents"),
    Case("GET /api/v1/agents", 503, given=without_store),
    Case("GET /api/v1/completeness"),
    Case("GET /api/v1/completeness", 503, given=never_counted),
    Case("GET /api/v1/rejected"),
    Case(SEND, 200, values=MEETING, body={"name": "measure", "line": "ftth"}, given=with_offline_units),
    Case(SEND, 202, values=MEETING, body=REPORT),
    Case(SEND, 400, values=MEETING, body={**REPORT, "settings": {"broker.host": "a"}}),
    Case(SEND, 404, values=UNKNOWN, body=REPORT),
    Case(SEND, 503, values=MEETING, body=REPORT, given=with_too_many_commands),
    Case(GET_COMMAND, values={"id": COMMAND}, given=with_command),
    Case(GET_COMMAND, 404, values={"id": COMMAND}),
    Case(GET_COMMAND, 404, values={"id": "no-uuid"}),
    Case("GET /api/v1/alerts"),
    Case("GET /api/v1/alerts", 503, given=without_alerts),
    Case(ACKNOWLEDGE, values=BELOW, body={"by": "Lan"}),
    Case(ACKNOWLEDGE, 404, values=UNKNOWN, body={"by": "Lan"}),
    Case(ACKNOWLEDGE, 409, values=MEETING, body={"by": "Lan"}),
    Case(ACKNOWLEDGE, 503, values=BELOW, body={"by": "Lan"}, given=without_alerts),
    Case("GET /api/v1/maintenance"),
    Case("GET /api/v1/maintenance", 503, given=without_alerts),
    Case(ADD, 201, body=window()),
    Case(ADD, 404, body=window("nd-nobody")),
    Case(ADD, 409, body=window()),
    Case(ADD, 503, body=window(), given=without_alerts),
    Case(END, values=with_window),
    Case(END, 404, values={"id": 123_456}),
    Case(END, 404, values={"id": "first"}),
    Case(END, 404, values={"id": 2**70}),
    Case(END, 503, values={"id": 1}, given=without_alerts),
    Case("GET /healthz"),
    Case("GET /healthz", 503, given=without_broker),
    Case("GET /metrics", media=TEXT),
]


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return province(tmp_path_factory.mktemp("province"))


def validate(schema: Values, value: object) -> None:
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def described(operation: str) -> Values:
    method, path = operation.split()
    return cast(Values, DOCUMENT["paths"][path][method.lower()])


def validate_answer(operation: str, answer: httpx.Response) -> str:
    """The media type of an answer that is as the document says."""
    response = described(operation)["responses"][str(answer.status_code)]
    contents = response["content"]
    assert ("retry-after" in answer.headers) == ("Retry-After" in response.get("headers", {}))
    media = answer.headers["content-type"].partition(";")[0]
    assert media in contents
    if media == JSON:
        validate(contents[JSON]["schema"], answer.json())
    return str(media)


def test_the_application_has_no_route_beside_the_table(seeded: Services) -> None:
    found = set()
    for route in create_app(seeded, TOKEN).routes:
        match route:
            case Route(path=path, methods=set() as methods):
                found |= {f"{method} {path}" for method in methods - {"HEAD"}}
            case Mount(path=path):
                found.add(path)
            case _:
                pytest.fail(f"{route} is of no kind that the table has")
    assert found == {*map(name, OPERATIONS), *(f"GET {page.path}" for page in PAGES), STATIC.path}


def test_the_document_lists_each_operation_but_itself() -> None:
    listed = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]
    assert sorted(listed) == sorted(map(name, DOCUMENTED))
    assert [one.path for one in OPERATIONS if not one.documented] == ["/openapi.json"]


@pytest.mark.parametrize("operation", DOCUMENTED, ids=name)
def test_the_document_describes_each_part_of_a_path(operation: Operation[Any]) -> None:
    """OpenAPI wants `required` of each."""
    parameters = described(name(operation))["parameters"]
    required = [one["name"] for one in parameters if one["in"] == "path" and one["required"]]
    assert required == [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]


def test_the_document_describes_a_unit_and_a_line_alike_in_each_path() -> None:
    found: dict[str, list[Values]] = {}
    for operation in DOCUMENTED:
        for one in described(name(operation))["parameters"]:
            if one["in"] == "path" and one["name"] in ("agent", "line"):
                found.setdefault(one["name"], []).append(one)
    for of_name in found.values():
        assert of_name == of_name[:1] * len(of_name)
        assert of_name[0]["description"]
        assert of_name[0]["schema"]["pattern"] == NAME_PATTERN


def test_the_document_is_what_the_application_answers(seeded: Services) -> None:
    assert TestClient(create_app(seeded)).get("/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_a_handler_is_given_what_the_table_declares_and_never_the_request(operation: Operation[Any]) -> None:
    hints = list(get_type_hints(operation.handler).values())
    assert hints == [Context, operation.parameters, Answer]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_a_page_is_given_what_the_table_declares(page: Any) -> None:
    assert list(get_type_hints(page.handler).values())[:3] == [Context, page.parameters, PageRequest]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operation} {case.status}")
def test_an_operation_answers_as_the_document_says(
    case: Case, seeded: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.status == 409:
        monkeypatch.setattr(alert_store, "MAX_WINDOWS", 0)
    answer = case.send(seeded)
    assert answer.status_code == case.status, answer.text
    assert validate_answer(case.operation, answer) == case.media


def test_each_answer_and_error_that_the_table_declares_has_a_case() -> None:
    """Errors that follow from body, token and query are provoked for every operation below."""
    declared = {
        *(
            (name(one), s, media_type(type_))
            for one in DOCUMENTED
            for s, types in one.answers.items()
            for type_ in types
        ),
        *((name(one), status, JSON) for one in DOCUMENTED for status in one.errors),
    }
    assert declared - {(case.operation, case.status, case.media) for case in CASES} == set()


def request(
    seeded: Services, operation: Operation[Any], query: str = "", token: str | None = TOKEN, **sent: Any
) -> Any:
    """A request with whatever values of the path."""
    address = operation.path.format(agent="nd-haihau-0012", line="ftth", id=COMMAND.int % 1000) + query
    with TestClient(create_app(seeded, token)) as web:
        return web.request(operation.method, address, **{"headers": AUTHORISED, **sent})


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_a_parameter_that_is_not_declared_is_refused_by_rest_and_ignored_for_monitoring(
    operation: Operation[Any], seeded: Services
) -> None:
    answer = request(seeded, operation, "?nonsense=1")
    if operation.path.startswith("/api/"):
        assert (answer.status_code, answer.json()["error"]["where"]) == (400, "query parameter nonsense")
        validate_answer(name(operation), answer)
    else:
        assert answer.status_code == 200
    assert forbids_unknown(operation.parameters) == operation.path.startswith("/api/")


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.method != "GET"], ids=name)
def test_an_operation_that_changes_something_wants_the_token_and_json(
    operation: Operation[Any], seeded: Services
) -> None:
    form = {**AUTHORISED, "Content-Type": "text/plain"}
    answers = [
        request(seeded, operation, token=None),
        request(seeded, operation, headers={"Content-Type": "application/json"}),
        request(seeded, operation, headers=form),
    ]
    assert [answer.status_code for answer in answers] == [403, 401, 415]
    assert operation.operator
    assert described(name(operation))["security"] == [{"operator": []}]
    for answer in answers:
        validate_answer(name(operation), answer)


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if body_type(one.parameters)], ids=name)
def test_a_body_that_is_too_large_or_of_another_form_is_refused(operation: Operation[Any], seeded: Services) -> None:
    answers = [request(seeded, operation, content=content) for content in (b"[]", b"{", b" " * 20_000)]
    assert [answer.status_code for answer in answers] == [400, 400, 413]
    for answer in answers:
        validate_answer(name(operation), answer)
        assert answer.json()["error"]["where"] == "body"


def test_an_answer_that_the_table_does_not_declare_does_not_go_out(seeded: Services) -> None:
    def answer_something_else(_: Context, __: NoParameters) -> Answer:
        return Answer(views.Agents(agents=[]))

    wrong = replace(OPERATIONS[0], handler=answer_something_else, parameters=NoParameters)
    app = create_app(seeded)
    app.router.routes[:] = [wrong.route(cast(Context, None))]
    with pytest.raises(TypeError, match="200 Agents is not in the table"):
        TestClient(app).get(wrong.path)


def test_an_answer_that_breaks_its_schema_is_noticed(seeded: Services) -> None:
    lines = TestClient(create_app(seeded)).get("/api/v1/lines").json()
    lines["lines"][0]["state"] = "good"
    with pytest.raises(ValidationError, match="'good' is not one of"):
        validate({"$ref": "#/components/schemas/Lines"}, lines)
