"""Who gets messages: `urls_file`, a list of addresses as apprise takes them, each with the lines that it wants."""

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from collector.texts.texts import Language, Texts
from xomnet.area import areas_of, same_name
from xomnet.registry.registry import LineRow, Registry
from xomnet.runtime.log import Log
from xomnet.runtime.secrets import check_private
from xomnet.settings import SettingsError, load

log = Log("collector.alerts")


class Channel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address. Without `areas` and `isps` it hears of everything; with both, of what is in one of each."""

    url: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://")]
    name: str | None = None
    areas: tuple[str, ...] = ()
    isps: tuple[str, ...] = ()
    language: Language | None = None
    digest: bool = True

    @property
    def id(self) -> str:
        """What it is known by in the outbox: the address is a secret."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """What it is called in logs."""
        return self.name or f"{self.url.partition(':')[0]}-{self.id[:4]}"

    def wants(self, row: LineRow) -> bool:
        """True if it wants a line."""
        here = not self.areas or any(same_name(given, area) for given in self.areas for area in areas_of(row.area))
        return here and (not self.isps or any(same_name(given, row.isp) for given in self.isps))


def unmatched_names(channels: Iterable[Channel], registry: Registry, now: dt.datetime) -> list[tuple[Channel, str]]:
    """What channels name that no line has, now or from a later day on: a word that is mistyped, or out of date."""
    today = now.astimezone(registry.zone).date()
    rows = [*registry.current(now), *(row for row in registry.rows() if row.from_ > today)]
    isps = {row.isp for row in rows}
    areas = {area for row in rows for area in areas_of(row.area)}
    return [
        (channel, name)
        for channel in channels
        for given, known in ((channel.areas, areas), (channel.isps, isps))
        for name in given
        if not any(same_name(name, one) for one in known)
    ]


def warn_of_unmatched(channels: Iterable[Channel], registry: Registry, now: dt.datetime) -> None:
    """Says it in the log: such a channel stays silent, which nobody notices."""
    for channel, name in unmatched_names(channels, registry, now):
        log.warning("a channel names what no line of the registry has", channel=channel.label, name=name)


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """The channels, and how messages to them are written: from the settings."""

    channels: Sequence[Channel] = ()
    language: Language = "vi"
    digest_at: str = "never"
    public_url: str | None = None

    def texts_for(self, channel: Channel) -> Texts:
        return Texts(channel.language or self.language)


def load_channels(path: Path) -> tuple[Channel, ...]:
    """Raises SecretError where others can read the file, SettingsError where it can't be understood: without what was
    found there, which may be an address.
    """
    check_private(path)
    try:
        return tuple(load(path, list[Channel]))
    except SettingsError as error:
        if not {"'", '"'} & set(error.found):
            raise
        hidden = "something else, not shown: it may be a secret"
        raise SettingsError(error.file, error.line, error.key, hidden, error.allowed) from None
