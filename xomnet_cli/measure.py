"""`xomnet measure`: one download test, here and now."""

import datetime as dt
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args
from zoneinfo import ZoneInfo

import msgspec
import typer

from agent.engines import DEFAULT_ENGINE, ENGINES
from xomnet.contract.messages import Access, Speed
from xomnet.defaults import config_file
from xomnet.plan import PROVINCE_TIME
from xomnet.targets import load_targets
from xomnet_cli import completion
from xomnet_cli.options import AsJson

if TYPE_CHECKING:
    from agent.measure.engines import Progress


AccessType = StrEnum("AccessType", [(access, access) for access in get_args(Access)])  # type: ignore[misc]
EngineChoice = StrEnum("EngineChoice", [(name, name) for name in ENGINES])  # type: ignore[misc]
ENGINE_HELP = "; ".join(f"{name}: {spec.help}" for name, spec in ENGINES.items()) + "."


def measure(
    url: Annotated[str, typer.Argument(metavar="URL", help="Measurement server, such as http://do1.example.vn:8080/")],
    access: Annotated[AccessType, typer.Option(help="Access type of the line; it sets the target.")] = AccessType[
        "fixed"
    ],
    engine: Annotated[EngineChoice, typer.Option(help=f"How to measure. {ENGINE_HELP}")] = EngineChoice[DEFAULT_ENGINE],
    interface: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Network interface to use, such as wwan0.",
            show_default="that of the default route",
            autocompletion=completion.interfaces,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", metavar="", help="Test the full length, without early stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the download speed of this machine's line, and compare it with the target.

    On a unit the bytes count towards the line's data budget.

    Exit status: 0 measured, 1 no figure, 130 interrupted.

    Example: xomnet measure http://do1.example.vn:8080/ --access mobile
    """
    if interface is not None and not ENGINES[engine].keeps_interface:
        raise typer.BadParameter(f"{engine} does not keep to an interface", param_hint="--interface")
    access_type = cast(Access, access.value)
    today = dt.datetime.now(ZoneInfo(PROVINCE_TIME)).date()
    target = load_targets(config_file("targets.yaml")).down_mbps(access_type, today)
    cancelled = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: cancelled.set())
    signal.signal(signal.SIGTERM, lambda *_: cancelled.set())
    first = "connecting …" if ENGINES[engine].reports_progress else "measuring …"
    with _live(show=not as_json and sys.stdout.isatty(), target=target, first=first) as progress:
        result = _measure(url, access_type, engine, interface, full, target, cancelled, progress)
    document = as_document(result, target)
    if as_json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        print(verdict(result, target))
    if result.error is not None:
        raise typer.Exit(130 if cancelled.is_set() else 1)


def _measure(
    url: str,
    access: Access,
    engine: EngineChoice,
    interface: str | None,
    full: bool,
    target: float,
    cancelled: threading.Event,
    progress: "Callable[[Progress], None]",
) -> Speed:
    from agent.measure.download import download, wanted_bytes  # noqa: PLC0415  # the agent's part is wanted here alone
    from agent.measure.precheck import precheck  # noqa: PLC0415
    from agent.settings import LineSettings, PrecheckSettings  # noqa: PLC0415

    line = LineSettings(line="once", access=access, interface=interface, engine=engine.value)
    check = precheck(interface, target, PrecheckSettings().cpu_busy_percent, 0.02 * target)
    if check.broken is not None:
        error, detail = check.broken
        return Speed(engine=engine, server=url, flags=check.flags, error=error, error_detail=detail)
    result = download(line, [url], [], wanted_bytes(line), cancelled, full=full, progress=progress)
    flags = tuple(dict.fromkeys([*result.flags, *check.flags]))
    return msgspec.structs.replace(result, flags=flags, link_mbps=result.link_mbps or check.link_mbps)


def as_document(result: Speed, target_mbps: float) -> dict[str, Any]:
    """The result as the JSON that `--json` prints: the fields of the contract, the target and whether it is met."""
    document: dict[str, Any] = {"flags": [], **msgspec.to_builtins(result), "target_mbps": target_mbps}
    if result.down_mbps is not None:
        document["meets_target"] = result.down_mbps >= target_mbps
    return document


def verdict(result: Speed, target_mbps: float) -> str:
    """The last line on the terminal."""
    flags = f"  [{', '.join(result.flags)}]" if result.flags else ""
    if result.down_mbps is None:
        return f"✖ no figure: {result.error}: {result.error_detail}{flags}"
    meets = result.down_mbps >= target_mbps
    words = "meets the target" if meets else "below the target"
    details = [f"{result.streams} streams"] if result.streams else []
    details += [f"{result.duration_s:.1f} s"] if result.duration_s is not None else []
    details += [f"{result.bytes / 1e6:.0f} MB"] if result.bytes is not None else []
    if result.rtt_idle_ms is not None:
        loaded = "" if result.rtt_loaded_ms is None else f", {result.rtt_loaded_ms:.1f} ms loaded"
        details.append(f"round trip {result.rtt_idle_ms:.1f} ms idle{loaded}")
    mark = "●" if meets else "▼"
    return f"{mark} {result.down_mbps:.1f} Mb/s of {target_mbps:g}: {words} ({', '.join(details)}){flags}"


@contextmanager
def _live(show: bool, target: float, first: str) -> "Iterator[Callable[[Progress], None]]":
    """A line that moves while the test runs, `first` until its first step; nothing if nobody watches."""
    if not show:
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Live(Text(first), console=Console(), transient=True, refresh_per_second=10) as live:

        def progress(now: "Progress") -> None:
            width = 40
            filled = min(width, round(width * now.mbps / (2 * target)))
            bar = "".join("┃" if i == width // 2 else ("━" if i < filled else "─") for i in range(width))
            phase = "measuring" if now.measuring else "warming up"
            live.update(Text(f"{now.t_s:4.1f} s  {bar}  {now.mbps:6.1f} Mb/s  {now.bytes / 1e6:5.0f} MB  {phase}"))

        yield progress
