"""What a modem says of its cell: part of a download test, and what the unit reads."""

from typing import Annotated

from msgspec import Struct

from xomnet.contract.fields import Field
from xomnet.contract.values import Dbm, Decibel, Text, Words


class Radio(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the modem said of its cell. Power, quality and SINR are those of 5G where it answers, else of LTE."""

    technologies: Annotated[Words, Field("Mobile network type", "Loại mạng di động")] = ()
    """As ModemManager names them: `lte`, `5gnr`, `hspa-plus`; two of them where 5G rides on LTE."""
    bands: Annotated[Words, Field("Frequency bands", "Băng tần")] = ()
    """Of the serving cells: `eutran-3`, `ngran-78`."""
    rsrp_dbm: Annotated[Dbm | None, Field("Signal power (RSRP)", "Mức thu tín hiệu (RSRP)")] = None
    rsrq_db: Annotated[Decibel | None, Field("Signal quality (RSRQ)", "Chất lượng tín hiệu (RSRQ)")] = None
    sinr_db: Annotated[Decibel | None, Field("Signal to noise ratio (SINR)", "Tỷ số tín hiệu trên nhiễu (SINR)")] = None
    operator: Annotated[Text | None, Field("Mobile operator", "Nhà mạng di động")] = None
    cell: Annotated[Text | None, Field("Cell", "Ô phủ sóng (cell)")] = None
    """The cell's identity within the operator's network, hexadecimal."""
