"""The demonstration's lines: real communes of Ninh Bình, invented units and rates."""

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


_HAI_ANH_5 = ("nd-haihau-0005", "Xóm 5", "Ninh Bình/xã Hải Anh", 20.2101, 106.2456)
_GIAO_MINH = ("nd-giaothuy-0002", "Xóm 2", "Ninh Bình/xã Giao Minh", 20.2577, 106.5409)
_QUY_NHAT_DONG = ("nd-nghiahung-0007", "Xóm Đông", "Ninh Bình/xã Quỹ Nhất", 20.0312, 106.1611)
_XUAN_TRUONG = ("nd-xuantruong-0003", "Xóm 3", "Ninh Bình/xã Xuân Trường", 20.2861, 106.3372)
_MINH_THAI = ("nd-trucninh-0011", "Xóm 11", "Ninh Bình/xã Minh Thái", 20.1874, 106.2211)
_NAM_MINH = ("nd-namtruc-0004", "Xóm Chiền", "Ninh Bình/xã Nam Minh", 20.3204, 106.1772)
_YEN_DONG = ("nd-yyen-0009", "Xóm 9", "Ninh Bình/xã Yên Đồng", 20.2513, 106.0164)
_VU_BAN = ("nd-vuban-0006", "Thôn Vân Cát", "Ninh Bình/xã Vụ Bản", 20.3561, 106.0847)
_DONG_A = ("nd-myloc-0001", "Thôn Mai", "Ninh Bình/phường Đông A", 20.4716, 106.1206)
_HAI_ANH_8 = ("nd-haihau-0021", "Xóm 8 (Hải Anh cũ)", "Ninh Bình/xã Hải Anh", 20.1829, 106.2795)
_GIAO_HOA = ("nd-giaothuy-0016", "Xóm 14", "Ninh Bình/xã Giao Hòa", 20.2353, 106.5147)
_QUY_NHAT_4 = ("nd-nghiahung-0012", "Xóm 4", "Ninh Bình/xã Quỹ Nhất", 19.9837, 106.1853)

LINES: tuple[DemoLine, ...] = (
    _fixed(_HAI_ANH_5, "VNPT", 172),
    _mobile(_HAI_ANH_5, "Viettel", 88),
    _mobile(_GIAO_MINH, "Viettel", 42),
    _fixed(_QUY_NHAT_DONG, "VNPT", 168, "goes silent"),
    _fixed(_XUAN_TRUONG, "FPT", 96),
    _mobile(_MINH_THAI, "VNPT", 81, "comes back"),
    _fixed(_NAM_MINH, "Viettel", 183),
    _mobile(_YEN_DONG, "MobiFone", 77),
    _fixed(_VU_BAN, "VNPT", 161),
    _mobile(_DONG_A, "Viettel", 94),
    _fixed(_HAI_ANH_8, "Viettel", 176),
    _mobile(_GIAO_HOA, "MobiFone", 58),
    _fixed(_QUY_NHAT_4, "VNPT", 131),
    _mobile(_QUY_NHAT_4, "Viettel", 73),
    _mobile(_XUAN_TRUONG, "Viettel", 103),
    _fixed(_MINH_THAI, "FPT", 190),
    _mobile(_NAM_MINH, "VNPT", 85),
    _fixed(_YEN_DONG, "Viettel", 158),
    _mobile(_VU_BAN, "Viettel", 49),
    _fixed(_DONG_A, "FPT", 204),
    _mobile(_HAI_ANH_8, "VNPT", 79),
    _fixed(_GIAO_HOA, "VNPT", 165),
    _fixed(_GIAO_MINH, "VNPT", 155),
    _mobile(_QUY_NHAT_DONG, "MobiFone", 66),
)
