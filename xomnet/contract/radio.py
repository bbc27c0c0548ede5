"""What a modem says of its cell: part of a download test, and what the unit reads."""

from msgspec import Struct

from xomnet.contract.values import Dbm, Decibel, Text, Words


class Radio(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the modem said of its cell. Power, quality and SINR are those of 5G where it answers, else of LTE."""

    technologies: Words = ()
    """As ModemManager names them: `lte`, `5gnr`, `hspa-plus`; two of them where 5G rides on LTE."""
    bands: Words = ()
    """Of the serving cells: `eutran-3`, `ngran-78`."""
    rsrp_dbm: Dbm | None = None
    rsrq_db: Decibel | None = None
    sinr_db: Decibel | None = None
    operator: Text | None = None
    cell: Text | None = None
    """The cell's identity within the operator's network, hexadecimal."""
