"""Acknowledgements: somebody deals with a line's open alert, so that it is not repeated."""

import datetime as dt

from msgspec import Struct

from collector.alerts.silences.words import Note, Words
from collector.store.line_id import LineId


class AcknowledgementRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    by: Words
    note: Note = ""
    whole_alert: bool = False
    """Every line of the alert that this line belongs to."""


class Acknowledgement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody deals with a line's open alert."""

    agent: str
    line: str
    by: str
    at: dt.datetime
    note: str = ""

    @property
    def id(self) -> LineId:
        return LineId(self.agent, self.line)
