"""Whoever a planner may declare dead for silence can tell, wherever the planner's reading stands and whatever its clock says."""

from bisect import bisect_right

from hypothesis import given, settings
from hypothesis import strategies as st

from packager.presence import Presence
from schemas.records import Reason
from schemas.settings import LivenessSettings
from schemas.units import UnixMs
from streams.core.liveness import judge
from streams.core.state import State
from tests.builders_control import T0, a_heartbeat

US = "p1"
LIVENESS = LivenessSettings()
# Gaps between heartbeats: as they are, missing, suspect, and about as long as makes dead.
GAPS = st.lists(st.sampled_from([400, 500, 600, 1_000, 1_499, 1_500, 1_501, 2_000, 2_499, 2_500, 2_600, 4_000, 12_000]), max_size=20)


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys((US, "p2", "p3", "p4"), GAPS)), st.lists(st.integers(0, 3_000), min_size=3, max_size=3))
def test_who_is_declared_dead_for_silence_has_read_it_in_the_same_heartbeats(gaps: dict[str, list[int]], ahead_ms: list[int]) -> None:
    beats = sorted((at, name) for name, spans in gaps.items() for at in (T0 + sum(spans[: n + 1]) for n in range(len(spans))))
    state, presence, knows = State(0), Presence(US, LIVENESS), False
    for offset, (at, name) in enumerate(beats):
        number = bisect_right([when for when, other in beats if other == name], at)
        state.fold("heartbeats", a_heartbeat(name, number=number), offset=offset, at=UnixMs(at))
        knows |= presence.hear(name, UnixMs(at)) is not None
        for now in (at, *(at + ms for ms in ahead_ms)):
            _, deaths = judge(state.rows("heartbeats").values(), {}, LIVENESS, now=UnixMs(now))
            silent = [dead for dead in deaths if dead.packager_id == US and dead.reason is Reason.PACKAGER_DEAD]
            assert knows or not silent, f"declared dead {now - at} ms after what was read, and cannot know it: {beats[: offset + 1]}"
