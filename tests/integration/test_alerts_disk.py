"""A disk that refuses the alert book is said in a sentence, and one that is slow holds nobody else up."""

import asyncio
import contextlib
import datetime as dt
import sqlite3
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from collector.alerts.channels import NotificationSettings
from collector.alerts.dispatcher import Dispatcher
from collector.alerts.store import AlertStore
from collector.web import create_app
from tests.support.province_fixture import SEEDS, province

pytestmark = pytest.mark.date

TOKEN = "a-token-of-twenty-letters"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def window() -> dict[str, str]:
    until = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)).isoformat()
    return {"agent": "nd-giaothuy-0002", "until": until, "by": "Lan", "why": "thay bộ định tuyến"}


@pytest.mark.parametrize("path", ["/api/v1/alerts", "/api/v1/maintenance"])
def test_a_book_that_the_disk_refuses_is_said(tmp_path: Path, path: str) -> None:
    services = province(tmp_path, SEEDS[:3])
    assert services.alerts is not None
    dispatcher = Dispatcher(services.alerts.store, NotificationSettings(), services.metrics)
    with TestClient(create_app(replace(services, dispatcher=dispatcher), TOKEN), raise_server_exceptions=False) as web:
        assert web.get(path).status_code == 200
        (tmp_path / "alerts.db").write_bytes(b"no longer a database" * 2000)
        answer = web.get(path)
        assert answer.status_code == 503
        assert answer.json()["error"]["what"] == "the alert book can't be read or written: file is not a database"
        assert web.post("/api/v1/maintenance", json=window(), headers=AUTHORISED).status_code == 503
        line = web.get("/lines/nd-giaothuy-0002/4g?lang=en")
        assert line.status_code == 200  # the figures are there all the same
        assert "The alerts of this line can&#39;t be read right now: file is not a database" in line.text
        assert web.get("/healthz").json()["notify"] == "the alert book can't be read: file is not a database"


def test_who_waits_for_the_disk_holds_nobody_else_up(tmp_path: Path) -> None:
    services = province(tmp_path, SEEDS[:3])
    assert services.alerts is not None
    store, app = services.alerts.store, create_app(services, TOKEN)

    async def meanwhile() -> tuple[bool, int, int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector") as web:
            with contextlib.closing(sqlite3.connect(tmp_path / "alerts.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                adding = asyncio.create_task(web.post("/api/v1/maintenance", json=window(), headers=AUTHORISED))
                while not (store._lock.locked() or adding.done()):
                    await asyncio.sleep(0.01)
                seen = await web.get("/api/v1/lines")
                waits = not adding.done()
                other.execute("ROLLBACK")
            return waits, seen.status_code, (await adding).status_code

    assert AlertStore.WAIT_S >= 5
    assert asyncio.run(meanwhile()) == (True, 200, 201)
