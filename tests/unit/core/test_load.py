"""What a slice takes: by tracks, turns and level."""

import pytest

from schemas.records import Cost, Level, Load
from schemas.units import UnixMs
from streams.core.facts import ChannelFacts, read
from streams.core.load import channel_load, slice_load
from tests.builders_control import TRACKS, ControlPlane, a_period


def facts() -> ChannelFacts:
    plane = ControlPlane()
    plane.add("channels", a_period())
    return read(plane.state, plane.policy, now=UnixMs(plane.now)).channels["news"]


def load_of(*tracks: str, level: Level = Level.PARTS, turns: int = 1, speed: float = 1.0) -> Load:
    return slice_load(facts(), Cost(), level=level, gops_per_segment=2, tracks=tracks, turns=turns, speed=speed)


def test_groups_of_tracks_take_together_what_the_channel_takes_but_each_reads_the_whole_log() -> None:
    whole, video, rest = channel_load(facts(), Cost(), gops_per_segment=2), load_of("v0", "v1"), load_of("v2", "a0")
    assert video.cores + rest.cores == pytest.approx(whole.cores)
    assert video.part_ms + rest.part_ms == pytest.approx(whole.part_ms)
    assert video.memory_bytes + rest.memory_bytes == pytest.approx(whole.memory_bytes, abs=2)
    assert video.in_bytes_per_s == rest.in_bytes_per_s == whole.in_bytes_per_s
    assert load_of(*TRACKS) == whole


def test_turns_take_together_what_the_channel_takes_but_each_reads_the_whole_log() -> None:
    whole, turn = load_of(*TRACKS), load_of(*TRACKS, turns=4)
    assert turn.cores == pytest.approx(whole.cores / 4)
    assert turn.part_ms == pytest.approx(whole.part_ms / 4)
    assert turn.out_bytes_per_s == pytest.approx(whole.out_bytes_per_s / 4, abs=1)
    assert turn.memory_bytes == pytest.approx(whole.memory_bytes / 4, abs=1)
    assert turn.in_bytes_per_s == whole.in_bytes_per_s


def test_whole_segments_take_no_part_work_and_are_written_once() -> None:
    parts, segments = load_of(*TRACKS), load_of(*TRACKS, level=Level.SEGMENTS)
    assert segments.cores < parts.cores
    assert segments.part_ms == 0.0
    assert segments.out_bytes_per_s * 2 == parts.out_bytes_per_s


def test_what_is_off_takes_nothing_nor_does_a_track_that_is_gone() -> None:
    assert load_of(*TRACKS, level=Level.OFF) == Load()
    assert load_of("gone").cores == 0.0


def test_a_backlog_takes_the_rates_of_its_speed() -> None:
    live, fast = load_of("v0"), load_of("v0", speed=3.0)
    assert fast.cores == pytest.approx(3 * live.cores)
    assert fast.in_bytes_per_s == pytest.approx(3 * live.in_bytes_per_s, abs=3)
