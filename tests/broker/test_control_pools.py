"""Several workers over several pools, and two planners on one: killed, stopped, joined, restarted, and never two words on one slice."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.kafka import LocalBroker
from packager.holding import Assigned, Withdrawn
from packager.receiver import Receiver
from schemas import topics
from schemas.errors import Exit
from schemas.records import Assignment, Level, Period, Reason
from schemas.units import Epoch, Ms, Msn
from streams.log import KafkaLog, outgoing
from streams.replay.redecide import redecide_log
from tests.builders import make_period

from .control_plane import CODEC, ControlPlane, Crowd, Installation, gops, until
from .obeyed import Obeyed, chain, obey, standings

pytestmark = pytest.mark.timeout(300)
POOLS = range(4)
# A machine that tests on both of its cores may stop a worker for longer than the default.
ENVIRONMENT = {"FINECUT_CONTROL__SESSION_TIMEOUT_MS": "5000"}
LONG_S = 90.0


def go_live(installation: Installation, channel: str, *, pool: int = 0, number: int = 0) -> Period:
    period = make_period(channel, pool=pool, period=number, idle_level=Level.PARTS, time_shift_ms=Ms(6_000))
    installation.send(topics.CHANNELS, topics.period_key(channel, number), period, pool=pool)
    installation.send(topics.GOPS, channel, *gops(period, range(5)), pool=pool)
    return period


class Several:
    """Four pools, and workers by their names."""

    def __init__(self, kafka: LocalBroker, folder: Path, stack: ExitStack) -> None:
        self.installation = Installation(kafka, folder, pool_count=len(POOLS))
        self.workers: dict[str, ControlPlane] = {}
        self.rounds = 0
        self._folder, self._stack = folder, stack
        stack.enter_context(Crowd(self.installation, "p1", "p2", pools=POOLS))

    def start(self, name: str) -> None:
        """A worker, or the same again: its folder makes it the same member for Kafka."""
        worker = ControlPlane(self.installation, self._folder / name, **ENVIRONMENT)
        self.workers[name] = self._stack.enter_context(worker)

    def send(self, name: str, number: signal.Signals) -> None:
        self.workers[name].process.send_signal(number)

    def settle(self, *names: str) -> None:
        """Return when these workers have taken over all that they were assigned."""
        for name in names:
            ready = partial(self.workers[name].metric, "finecut_control_ready")
            until(ready, what=f"readiness of {name}", timeout_s=LONG_S)

    def goes_on(self) -> None:
        """A channel goes live in every pool, and every pool gives it to somebody."""
        self.rounds += 1
        for pool in POOLS:
            go_live(self.installation, f"c{self.rounds}-{pool}", pool=pool)
        for pool in POOLS:
            key = f"c{self.rounds}-{pool}/all/0/0"
            until(partial(self.is_held, key, pool), what=f"assignment of {key}", timeout_s=LONG_S)

    def is_held(self, key: str, pool: int) -> bool:
        """Whether a slice is somebody's for those who read along; whom the watchdog ended meanwhile is begun anew."""
        for worker in self.workers.values():
            if worker.process.poll() == Exit.STUCK:
                worker.tend()
        return key in obey(self.installation, pool).held


@pytest.fixture(scope="module")
def several(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Several]:
    """What three workers over four pools went through, one after the other; all have ended."""
    with ExitStack() as stack:
        line = Several(kafka, tmp_path_factory.mktemp("several"), stack)
        line.start("a")
        line.start("b")
        line.settle("a", "b")
        line.goes_on()
        line.start("c")  # a rebalance
        line.settle("c")
        line.goes_on()
        line.send("a", signal.SIGSTOP)
        line.goes_on()  # others took its pools over, so that its session was over
        line.send("a", signal.SIGCONT)
        line.settle("a")
        line.goes_on()
        line.workers["b"].kill()
        line.goes_on()
        for name in ("a", "c"):
            assert line.workers[name].stop() == 0
            line.start(name)
            line.settle(name)
        line.goes_on()
        for name in ("a", "c"):
            assert line.workers[name].stop() == 0
        yield line


@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_decides_on_one_plan_whatever_becomes_of_its_workers(several: Several, pool: int) -> None:
    decisions = chain(several.installation, pool)
    assert [decision.number for decision in decisions] == list(range(1, len(decisions) + 1))
    in_force = standings(decisions)[len(decisions)]
    assert set(in_force.plans) == {f"c{number}-{pool}" for number in range(1, several.rounds + 1)}


@pytest.mark.parametrize("pool", POOLS)
def test_what_is_obeyed_was_decided_and_the_last_word_on_each_slice_is_what_is_in_force(several: Several, pool: int) -> None:
    seen, decisions = obey(several.installation, pool), chain(several.installation, pool)
    assert seen.wrong == []
    assert set(seen.held) == set(standings(decisions)[len(decisions)].assignments)


def test_every_decision_of_every_worker_comes_out_equal_when_it_is_made_again(several: Several) -> None:
    verdict = redecide_log(several.installation.kafka)
    assert verdict.is_equal, str(verdict)
    assert verdict.equal == sum(len(chain(several.installation, pool)) for pool in POOLS)


@pytest.fixture(scope="module")
def woken(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Obeyed]]:
    """
    Two workers of one pool, each in turn stopped while the other goes on, and woken.

    One before the append of a decision; one between the ack of a decision that gives a slice away, and what follows from it.
    """
    folder = tmp_path_factory.mktemp("woken")
    installation = Installation(kafka, folder, pool_count=1)
    traps = folder / "traps"
    traps.mkdir()
    for trap in ("before-trap", "between-snare"):
        (traps / trap).touch()

    def worker(name: str) -> ControlPlane:
        plane = ControlPlane(installation, folder / name, words=("tests.broker.pausing", str(traps)), **ENVIRONMENT)
        plane.is_supervised = True
        return plane

    def holds(*channels: str, by: ControlPlane) -> None:
        keys = {f"{channel}/all/0/0" for channel in channels}

        def ask() -> bool:
            by.tend()
            return keys <= set(obey(installation).held)

        until(ask, what=f"holder of {channels}", timeout_s=LONG_S)

    def stopped(*workers: ControlPlane) -> ControlPlane:
        def ask() -> ControlPlane | None:
            return next((w for w in workers if psutil.Process(w.process.pid).status() == psutil.STATUS_STOPPED), None)

        return until(ask, what="pause", timeout_s=LONG_S)  # type: ignore[no-any-return]  # the answer that is true

    with Crowd(installation, "p1", "p2"), worker("first") as first:
        until(lambda: first.metric("finecut_control_ready"), what="readiness", timeout_s=LONG_S)
        go_live(installation, "news")
        holds("news", by=first)
        go_live(installation, "trap")
        stopped(first)
        with worker("second") as second:
            holds("news", "trap", by=second)
            first.process.send_signal(signal.SIGCONT)
            # It may learn first that its pool is another's, and then it has nothing to notice.
            until(lambda: overtaken(installation), what="a decision of the first that does not count", timeout_s=LONG_S)
            go_live(installation, "snare")
            late = stopped(first, second)
            other = second if late is first else first
            holds("snare", by=other)  # since the other sends what it owed
            go_live(installation, "arts")
            holds("arts", by=other)
            before = obey(installation).passed_over
            late.process.send_signal(signal.SIGCONT)
            until(lambda: obey(installation).passed_over > before, what="a stale projection", timeout_s=LONG_S)
            until(lambda: is_as_in_force(obey(installation)), what="what was written over, sent again", timeout_s=LONG_S)
            seen = obey(installation)
            assert first.stop() == 0
            assert second.stop() == 0
        yield installation, seen


def test_of_a_planner_that_stood_still_nothing_is_obeyed_that_is_not_in_force(woken: tuple[Installation, Obeyed]) -> None:
    installation, seen = woken
    assert seen.wrong == []
    assert seen.passed_over, "its projections came, late"
    decisions = chain(installation, 0)
    assert [decision.number for decision in decisions] == list(range(1, len(decisions) + 1))
    assert overtaken(installation), "its decision came, and does not count"


def overtaken(installation: Installation) -> int:
    """Decisions in the log that do not count."""
    return len(installation.read(topics.DECISIONS)) - len(chain(installation, 0))


def is_as_in_force(seen: Obeyed) -> bool:
    """Whether one who begins to read when all but the newest of each key is compacted away learns the same as one who read along."""
    return {key: record for key, record in seen.newest.items() if record} == seen.held


def test_what_it_wrote_over_was_sent_again_by_the_planner_in_charge(woken: tuple[Installation, Obeyed]) -> None:
    assert is_as_in_force(woken[1])


async def test_a_packager_keeps_its_slice_when_a_tombstone_of_an_older_decision_comes(kafka: LocalBroker, tmp_path: Path) -> None:
    installation = Installation(kafka, tmp_path, pool_count=1)
    key = "news/all/0/0"
    given = Assignment(
        slice_id="news/all/0", copy=0, epoch=Epoch(8), packager_id="p1", life="l1", channel="news", tracks=("v0",), turn=0, turns=1,
        level=Level.PARTS, from_msn=Msn(0), media_partition=0, first_offset=0, decision=8, reason=Reason.PLACED,
    )  # fmt: skip
    installation.send(topics.ASSIGNMENTS, key, given)
    async with KafkaLog(installation.kafka) as log:
        for decision in (7, 9):
            await log.append([outgoing(topics.ASSIGNMENTS, 0, key, None, codec=CODEC, kafka=installation.kafka, decision=decision)])
    receiver = Receiver(installation.kafka, CODEC, pool=0, packager_id="p1", life="l1")
    events: list[Any] = []
    while not receiver.is_caught_up:
        events += receiver.read(0.1)
    receiver.close()
    assert [event for event in events if not isinstance(event, Withdrawn)] == [Assigned(key=key, assignment=given)]
    assert len(events) == 2
    assert installation.read(topics.ASSIGNMENTS)[1].headers() == [*topics.decision_headers(7)]
