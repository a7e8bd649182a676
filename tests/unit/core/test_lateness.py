"""Who is late alone is blamed: another makes its slices too; when all are late, nobody is, and nothing is moved."""

from dataclasses import replace

from schemas.records import Assignment, Decision, Fault, Level, Load, PackagerState, Reason, SliceProgress
from schemas.units import Msn
from tests.builders_control import ControlPlane, a_gop, a_heartbeat, a_period, a_report

CHANNELS = ("arts", "news", "sport", "zoo")
POOL = ("p1", "p2", "p3", "p4")
SEGMENT_MS = 4_000
TICK_MS = 500


class Line:
    """Channels whose segments come every four seconds, one for each packager, which report at once unless they are stuck."""

    def __init__(self, *packagers: str, cores: float = 2.0) -> None:
        self.plane = ControlPlane()
        self.packagers = packagers or POOL
        self.cores = cores
        self.stuck: set[str] = set()
        self.silent: set[str] = set()
        self.used = 0.0
        self.is_encoding = True
        self.made: list[Decision] = []
        self.life = dict.fromkeys(self.packagers, "l1")
        self._beat = 0
        self._done: dict[tuple[str, str], int] = {}
        self.run(4_000)
        self.plane.add("channels", *(a_period(c, idle_level=Level.PARTS, at=self.plane.now) for c in CHANNELS[: len(self.packagers)]))
        self._from = self.plane.now
        self._gop = 0
        self.run(10_000)

    def run(self, ms: int) -> "Line":
        for _ in range(ms // TICK_MS):
            self.plane.log.pass_ms(TICK_MS)
            self._encode()
            self._work()
            self.made += self.plane.settle()
        return self

    def _encode(self) -> None:
        if self.is_encoding and self.plane.state.rows("channels") and (self.plane.now - self._from) % 1_000 == 0:
            for channel in sorted(self.plane.state.rows("channels")):
                gop = a_gop(channel, gop=self._gop, msn=self._gop // 4, first_gop=self._gop // 4 * 4, durable=self.plane.now)
                self.plane.add("gops", gop)
            self._gop += 1

    def _work(self) -> None:
        self._beat += 1
        whole = getattr(self, "_gop", 0) // 4
        for packager in self.packagers:
            mine = {k: a for k, a in sorted(self.plane.standing.assignments.items()) if self._is_mine(a, packager)}
            for key, held in mine.items():
                done = self._done.get((packager, key), held.from_msn)
                if packager not in self.stuck and done < whole:
                    self.plane.add("reports", a_report(held.channel, msns=range(done, whole), packager=packager, epoch=held.epoch))
                    self._done[packager, key] = whole
            if packager not in self.silent:
                said = tuple(
                    SliceProgress(
                        slice_id=a.slice_id, copy=a.copy, epoch=a.epoch, next_msn=Msn(max(a.from_msn, self._done.get((packager, key), 0)))
                    )
                    for key, a in mine.items()
                )
                capacity = Load(cores=self.cores, memory_bytes=2**30)
                beat = a_heartbeat(packager, life=self.life[packager], number=self._beat, slices=said, capacity=capacity)
                self.plane.add("heartbeats", replace(beat, use=Load(cores=self.used)))

    def _is_mine(self, held: Assignment, packager: str) -> bool:
        return (held.packager_id, held.life) == (packager, self.life[packager])

    def hedges(self) -> dict[str, Assignment]:
        return {key: held for key, held in self.plane.standing.assignments.items() if held.hedges}

    def holder(self, channel: str) -> str:
        return self.plane.standing.assignments[f"{channel}/all/0/0"].packager_id

    def dead(self) -> list[tuple[str, Reason]]:
        return [(life.packager_id, life.reason) for life in self.plane.standing.dead.values()]


def test_who_works_in_time_is_neither_hedged_nor_suspect() -> None:
    line = Line().run(20_000)
    assert not line.hedges()
    assert sorted(line.holder(channel) for channel in CHANNELS) == list(POOL)


def test_a_late_slice_is_given_to_a_second_packager_with_its_reason_and_the_first_one_keeps_it() -> None:
    line = Line()
    late = line.holder("news")
    line.stuck = {late}
    line.run(SEGMENT_MS + 1_500)
    ((key, second),) = line.hedges().items()
    assert (key, second.hedges, second.reason) == ("news/all/0/1", late, Reason.LATE)
    assert second.packager_id != late == line.holder("news")
    assert not line.dead()


def test_a_hedge_goes_on_while_the_late_one_is_behind_though_nothing_is_missing_and_ends_when_that_has_caught_up() -> None:
    line = Line()
    line.stuck = {line.holder("news")}
    line.run(SEGMENT_MS + 5_000)
    assert list(line.hedges()) == ["news/all/0/1"]
    line.stuck = set()
    line.run(1_500)
    assert not line.hedges()
    assert not line.dead()


def test_a_holder_that_is_late_for_long_is_dead_and_the_second_one_has_its_slice_alone() -> None:
    line = Line()
    late = line.holder("news")
    line.stuck = {late}
    line.run(SEGMENT_MS + 2_000)
    second = line.hedges()["news/all/0/1"].packager_id
    line.run(11_000)
    assert line.dead() == [(late, Reason.LATE)]
    held = line.plane.standing.assignments["news/all/0/0"]
    assert (held.packager_id, held.reason) == (second, Reason.PACKAGER_DEAD)
    assert not line.hedges()


def test_a_hedge_takes_over_at_once_when_the_late_one_falls_silent() -> None:
    line = Line()
    late = line.holder("news")
    line.stuck = {late}
    line.run(SEGMENT_MS + 2_000)
    second = line.hedges()["news/all/0/1"].packager_id
    line.silent = {late}
    line.run(3_000)
    assert line.dead() == [(late, Reason.PACKAGER_DEAD)]
    assert line.holder("news") == second
    assert not line.hedges()


def test_a_pool_of_which_everybody_is_late_is_neither_hedged_nor_killed() -> None:
    line = Line()
    line.stuck = set(POOL)
    line.run(30_000)
    assert not line.dead()
    assert not any(a.hedges for decision in line.made for a in decision.assignments)


def test_three_of_four_that_are_late_at_once_are_held_to_be_our_fault_for_a_while() -> None:
    line = Line()
    line.stuck = set(POOL[:3])
    line.run(SEGMENT_MS + 5_000)
    assert not line.hedges()
    assert not line.dead()


def test_who_uses_all_its_cores_is_hedged_but_not_dead() -> None:
    line = Line()
    line.stuck, line.used = {line.holder("news")}, 2.0
    line.run(20_000)
    assert line.hedges()
    assert not line.dead()


def test_a_stalled_encoder_blames_nobody() -> None:
    line = Line()
    line.is_encoding = False
    line.stuck = {line.holder("news")}
    line.run(20_000)
    assert not line.hedges()
    assert not line.dead()


def test_what_the_end_of_its_period_made_whole_long_after_its_last_chunk_is_late_for_nobody() -> None:
    line = Line().run(1_000)
    assert line.plane.state.rows("gops")["news"].segments[-1].seen_gops == 3
    line.is_encoding = False
    last_ms = line.plane.now
    line.run(15_000)
    line.plane.add("gops", a_gop("news", gop=11, msn=2, first_gop=8, durable=last_ms))
    made = line.plane.settle()
    assert not [void for decision in made for void in decision.voids]
    assert not line.hedges()
    assert not line.dead()


def test_a_new_life_of_who_was_late_rests_while_there_are_others_and_then_gets_work() -> None:
    line = Line()
    late = line.holder("news")
    line.stuck = {late}
    line.run(SEGMENT_MS + 13_000)
    assert line.dead() == [(late, Reason.LATE)]
    line.stuck, line.life[late] = set(), "l2"
    first, second, _ = (p for p in POOL if p != late)
    for gone, takes_it in ((first, False), (second, True)):
        line.plane.add("heartbeats", a_heartbeat(gone, number=900, state=PackagerState.GONE))
        line.silent |= {gone}
        line.run(2_000)
        holders = {held.life for held in line.plane.standing.assignments.values() if held.packager_id == late}
        assert ("l2" in holders) is takes_it
        line.run(12_000)


def test_nobody_is_late_with_what_the_log_had_before_it_was_given() -> None:
    line = Line()
    late = line.holder("news")
    line.silent = line.stuck = {late}
    line.run(3_000)
    line.stuck = {line.holder("news")}
    line.run(3_000)
    assert not line.hedges()


def test_failures_of_its_own_with_what_others_made_are_the_end_of_a_life_and_those_of_the_store_are_not() -> None:
    for fault, is_dead in ((Fault.OWN, True), (Fault.STORE, False)):
        line = Line()
        bad = line.holder("news")
        line.plane.add("reports", a_report("news", msns=[0, 1, 2], packager=bad, epoch=line.plane.standing.number, fault=fault))
        line.run(1_000 + SEGMENT_MS)
        assert (line.dead() == [(bad, Reason.FAILED_THRICE)]) is is_dead
