"""What InfluxDB 2.7.12 answers, recorded from it: each status, header and body as it came."""

import json

import pytest

from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.influx_answers import BatchRefused, WriteTarget, check_query, check_write

URL = "http://127.0.0.1:8086"
BUCKET, ROLLUPS = WriteTarget("xomnet", "store.bucket"), WriteTarget("xomnet-rollups", "store.rollups_bucket")
BOTH = {"X-Influxdb-Build": "OSS", "X-Influxdb-Version": "v2.7.12", "Date": "Sun, 22 Nov 2026 12:53:47 GMT"}
QUERY = {**BOTH, "Content-Type": "application/json", "Vary": "Accept-Encoding"}


def error(code: str) -> dict[str, str]:
    """The headers of a refusal."""
    return {**BOTH, "Content-Type": "application/json; charset=utf-8", "X-Platform-Error-Code": code}


def body(code: str, message: str) -> str:
    return json.dumps({"code": code, "message": message}, separators=(",", ":"))


def test_what_it_wrote_it_says_with_204_and_no_body() -> None:
    check_write(URL, BUCKET, 204, BOTH, "")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (
            422,
            "unprocessable entity",
            'failure writing points to database: partial write: field type conflict: input field "down_mbps" on'
            ' measurement "speed" is type string, already exists as type float dropped=1',
        ),
        (
            422,
            "unprocessable entity",
            "failure writing points to database: partial write: dropped 1 points outside retention policy of duration"
            " 9600h0m0s - oldest point speed,agent=a,line=ftth at 2025-07-10T12:51:19Z dropped because it violates a"
            " Retention Policy Lower Bound at 2025-10-18T12:51:19.722144508Z, newest point speed,agent=a,line=ftth at"
            " 2025-07-10T12:51:19Z dropped because it violates a Retention Policy Lower Bound at"
            " 2025-10-18T12:51:19.722144508Z dropped=1 for database: c6881b29eb898d8a for retention policy: autogen",
        ),
        (400, "invalid", "unable to parse 'speed,agent=a down_mbps= 1795351879000000000': missing field value"),
        (400, "invalid", "unable to parse 'speed,agent=a down_mbps=NaN 1795351879000000000': invalid number"),
        (
            400,
            "invalid",
            "unable to parse 'speed,agent=a,line=ftth,time=x down_mbps=2.5 1795351879000000005': cannot use reserved"
            ' tag key "time"',
        ),
    ],
)
def test_a_bad_point_is_refused_with_its_reason(status: int, code: str, message: str) -> None:
    with pytest.raises(BatchRefused) as raised:
        check_write(URL, BUCKET, status, error(code), body(code, message))
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("status", "code", "message", "says"),
    [
        (401, "unauthorized", "unauthorized access", "store.token_file"),
        (403, "forbidden", "insufficient permissions for write", "may not read and write xomnet"),
        (403, "forbidden", "insufficient permissions for write: token is inactive", "store.token_file"),
        (404, "not found", 'bucket "xomnet" not found', "store.org and store.bucket"),
        (404, "not found", 'organization name "-" not found', "store.org and store.bucket"),
    ],
)
def test_a_write_that_the_settings_forbid_says_which_to_look_at(
    status: int, code: str, message: str, says: str
) -> None:
    with pytest.raises(StoreRefused) as raised:
        check_write(URL, BUCKET, status, error(code), body(code, message))
    assert message in str(raised.value)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("bucket", "statement", "says"),
    [
        # the same where the token may not read the bucket
        (BUCKET, "database not found: xomnet", r"look at store\.bucket, and whether the token may read it"),
        (ROLLUPS, "database not found: xomnet-rollups", r"look at store\.rollups_bucket"),
        # another bucket has a DBRP mapping of this name, which the token does not see
        (BUCKET, "default retention policy not set for: xomnet", r"DBRP mapping .* store\.bucket the default"),
    ],
)
def test_a_query_that_the_settings_forbid_says_which_to_look_at(bucket: WriteTarget, statement: str, says: str) -> None:
    answer = f'{{"results":[{{"statement_id":0,"error":"{statement}"}}]}}\n'
    with pytest.raises(StoreRefused, match=f"{statement}: .*{says}"):
        check_query(URL, bucket, 200, QUERY, answer)


def test_a_token_that_it_does_not_know_reads_nothing() -> None:
    with pytest.raises(StoreRefused, match=r"401 Unauthorized: .*store\.token_file"):
        check_query(URL, BUCKET, 401, error("unauthorized"), body("unauthorized", "Unauthorized"))


def test_any_other_error_of_a_statement_may_pass() -> None:
    with pytest.raises(StoreUnavailable) as raised:
        check_query(URL, BUCKET, 200, QUERY, '{"results":[{"statement_id":0,"error":"engine is closed"}]}\n')
    assert not isinstance(raised.value, StoreRefused)


def test_nothing_found_and_rows_found() -> None:
    assert check_query(URL, BUCKET, 200, QUERY, '{"results":[{"statement_id":0}]}\n') == []
    (series,) = check_query(
        URL,
        BUCKET,
        200,
        QUERY,
        '{"results":[{"statement_id":0,"series":[{"name":"measurements","columns":["name"],"values":[["speed"]]}]}]}\n',
    )
    assert series.values == [["speed"]]
