"""The demonstration's lines: real places of Nam Định, invented units and rates."""

from dataclasses import dataclass
from typing import Literal

from xomnet.contract.messages import Access

Fate = Literal["stays", "goes silent", "comes back"]


@dataclass(frozen=True, slots=True)
class DemoLine:
    """A line and the rate, in Mb/s of payload, at which its measurement server paces it."""

    agent: str
    line: str
    access: Access
    hamlet: str
    area: str
    lat: float
    lon: float
    isp: str
    rate_mbps: float
    plan_mbps: float | None = None
    fate: Fate = "stays"


def _fixed(place: tuple[str, str, str, float, float], isp: str, rate: float, fate: Fate = "stays") -> DemoLine:
    agent, hamlet, area, lat, lon = place
    return DemoLine(agent, "ftth", "fixed", hamlet, area, lat, lon, isp, rate, 200 if rate < 200 else 300, fate)


def _mobile(place: tuple[str, str, str, float, float], isp: str, rate: float, fate: Fate = "stays") -> DemoLine:
    agent, hamlet, area, lat, lon = place
    return DemoLine(agent, "4g", "mobile", hamlet, area, lat, lon, isp, rate, None, fate)


_HAI_MINH = ("nd-haihau-0005", "Xóm 5", "Nam Định/Hải Hậu/Hải Minh", 20.2101, 106.2456)
_GIAO_THIEN = ("nd-giaothuy-0002", "Xóm 2", "Nam Định/Giao Thủy/Giao Thiện", 20.2577, 106.5409)
_NGHIA_LOI = ("nd-nghiahung-0007", "Xóm Đông", "Nam Định/Nghĩa Hưng/Nghĩa Lợi", 20.0312, 106.1611)
_XUAN_KIEN = ("nd-xuantruong-0003", "Xóm 3", "Nam Định/Xuân Trường/Xuân Kiên", 20.2861, 106.3372)
_TRUC_THAI = ("nd-trucninh-0011", "Xóm 11", "Nam Định/Trực Ninh/Trực Thái", 20.1874, 106.2211)
_NAM_DUONG = ("nd-namtruc-0004", "Xóm Chiền", "Nam Định/Nam Trực/Nam Dương", 20.3204, 106.1772)
_YEN_DONG = ("nd-yyen-0009", "Xóm 9", "Nam Định/Ý Yên/Yên Đồng", 20.2513, 106.0164)
_KIM_THAI = ("nd-vuban-0006", "Thôn Vân Cát", "Nam Định/Vụ Bản/Kim Thái", 20.3561, 106.0847)
_MY_THANG = ("nd-myloc-0001", "Thôn Mai", "Nam Định/Mỹ Lộc/Mỹ Thắng", 20.4716, 106.1206)
_HAI_ANH = ("nd-haihau-0021", "Xóm 8", "Nam Định/Hải Hậu/Hải Anh", 20.1829, 106.2795)
_GIAO_AN = ("nd-giaothuy-0016", "Xóm 14", "Nam Định/Giao Thủy/Giao An", 20.2353, 106.5147)
_NGHIA_PHUC = ("nd-nghiahung-0012", "Xóm 4", "Nam Định/Nghĩa Hưng/Nghĩa Phúc", 19.9837, 106.1853)

LINES: tuple[DemoLine, ...] = (
    _fixed(_HAI_MINH, "VNPT", 172),
    _mobile(_HAI_MINH, "Viettel", 88),
    _mobile(_GIAO_THIEN, "Viettel", 42),
    _fixed(_NGHIA_LOI, "VNPT", 168, "goes silent"),
    _fixed(_XUAN_KIEN, "FPT", 96),
    _mobile(_TRUC_THAI, "VNPT", 81, "comes back"),
    _fixed(_NAM_DUONG, "Viettel", 183),
    _mobile(_YEN_DONG, "MobiFone", 77),
    _fixed(_KIM_THAI, "VNPT", 161),
    _mobile(_MY_THANG, "Viettel", 94),
    _fixed(_HAI_ANH, "Viettel", 176),
    _mobile(_GIAO_AN, "MobiFone", 58),
    _fixed(_NGHIA_PHUC, "VNPT", 131),
    _mobile(_NGHIA_PHUC, "Viettel", 73),
    _mobile(_XUAN_KIEN, "Viettel", 103),
    _fixed(_TRUC_THAI, "FPT", 190),
    _mobile(_NAM_DUONG, "VNPT", 85),
    _fixed(_YEN_DONG, "Viettel", 158),
    _mobile(_KIM_THAI, "Viettel", 49),
    _fixed(_MY_THANG, "FPT", 204),
    _mobile(_HAI_ANH, "VNPT", 79),
    _fixed(_GIAO_AN, "VNPT", 165),
    _fixed(_GIAO_THIEN, "VNPT", 155),
    _mobile(_NGHIA_LOI, "MobiFone", 66),
)
