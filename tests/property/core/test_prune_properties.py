"""Whether rows were pruned on the way is not seen by any decision: a replay, which never prunes, decides the same."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import ChannelDemand, Fault
from schemas.units import UnixMs
from streams.core.state import State
from tests.builders_control import T0, a_demand, a_gop, a_heartbeat, a_report

MEMORY_MS = 1_000
NAMES, SMALL = st.sampled_from(["a", "b"]), st.integers(0, 3)


def seen(channel: str, sessions: int, asked: bool) -> ChannelDemand:
    return ChannelDemand(channel=channel, whole_sessions=sessions, first_request=asked)


RECORDS: dict[str, st.SearchStrategy[Any]] = {
    "gops": st.builds(lambda channel, n: a_gop(channel, gop=n, msn=n // 2, first_gop=n - n % 2, gop_count=2), NAMES, st.integers(0, 9)),
    "demand": st.builds(lambda origin, *of: a_demand(origin, [seen(*of)]), NAMES, NAMES, SMALL, st.booleans()),
    "heartbeats": st.builds(lambda packager, life: a_heartbeat(packager, life=life), NAMES, NAMES),
    "reports": st.builds(
        lambda packager, channel, msn, fault: a_report(channel, packager=packager, msns=[msn], fault=fault),
        NAMES, NAMES, SMALL, st.none() | st.sampled_from(Fault),
    ),
}  # fmt: skip
STEPS = st.lists(
    st.sampled_from(sorted(RECORDS)).flatmap(
        lambda title: st.tuples(st.just(title), RECORDS[title], st.sampled_from([0, 400, MEMORY_MS, MEMORY_MS + 1]), st.booleans())
    ),
    max_size=20,
)


@given(STEPS)
def test_pruning_changes_nothing_that_a_decision_can_read(steps: list[tuple[str, Any, int, bool]]) -> None:
    kept, pruned, at = State(0, MEMORY_MS), State(0, MEMORY_MS), int(T0)
    for offset, (title, record, step_ms, prunes) in enumerate(steps):
        at += step_ms
        for state in (kept, pruned):
            state.fold(title, record, offset=offset, at=UnixMs(at))
        if prunes:
            pruned.prune(title, UnixMs(at))
        assert pruned.inputs() == kept.inputs()
        for each in RECORDS:
            assert pruned.recent(each, UnixMs(at)) == kept.recent(each, UnixMs(at))
