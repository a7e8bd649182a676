"""Records are born valid: what breaks a rule is refused when it is read, before anything counts it."""

from typing import Any

import pytest

from schemas.codec import Codec
from schemas.errors import RejectedError
from schemas.records import ChannelDemand, Demand, Outcome, Reports, SegmentReport
from schemas.units import Epoch, Msn, Ticks, UnixMs


def channel_demand(**fields: Any) -> ChannelDemand:
    return ChannelDemand(channel="a", **fields)


def demand(**fields: Any) -> Demand:
    return Demand(origin_id="o1", at_unix_ms=UnixMs(0), channels=(channel_demand(),), **fields)


def report(**fields: Any) -> SegmentReport:
    plain = {"part_count": 2, "chunk_count": 4, "size": 9, "cpu_us": 900} | fields
    return SegmentReport(
        channel="a", period=0, track="v0", msn=Msn(0), slice_id="a/all/0", epoch=Epoch(1), outcome=Outcome.PUBLISHED,
        start_ticks=Ticks(0), duration_ticks=Ticks(1), digest=b"", durable_unix_ms=UnixMs(0), **plain,
    )  # fmt: skip


@pytest.mark.parametrize(
    "field", ["whole_sessions", "part_sessions", "chunked_sessions", "joins", "seeks", "switches", "stalls", "requests", "sent_bytes"]
)
@pytest.mark.parametrize("value", [-1, 10**16])
def test_a_count_of_demand_is_neither_negative_nor_absurd(field: str, value: int) -> None:
    with pytest.raises(RejectedError, match=field):
        channel_demand(**{field: value})


@pytest.mark.parametrize("field", ["buffer_ms_p10", "throughput_kbps_p50"])
def test_what_is_unknown_of_players_is_minus_one_and_nothing_lower(field: str) -> None:
    channel_demand(**{field: -1})
    with pytest.raises(RejectedError, match=field):
        channel_demand(**{field: -2})


@pytest.mark.parametrize("cores", [-0.1, float("nan"), float("inf")])
def test_an_origin_uses_a_finite_number_of_cores(cores: float) -> None:
    with pytest.raises(RejectedError, match="cores"):
        demand(cores_used=cores)


@pytest.mark.parametrize(
    "fields", [{"size": -1}, {"part_count": -1}, {"chunk_count": -1}, {"cpu_us": -1}, {"cpu_us": 3_600_000_001}], ids=str
)
def test_a_report_counts_nothing_negative_and_no_absurd_time(fields: dict[str, int]) -> None:
    with pytest.raises(RejectedError):
        report(**fields)


def test_bytes_that_say_otherwise_are_refused_when_they_are_read() -> None:
    codec, bad_demand, bad_report = Codec(), demand(), report()
    object.__setattr__(bad_demand.channels[0], "joins", -3)
    object.__setattr__(bad_report, "size", -3)
    for record in (bad_demand, Reports(packager_id="p", life="l", segments=(bad_report,))):
        with pytest.raises(RejectedError):
            codec.decode(codec.encode(record))
