"""A scenario from its beginning to its end: spans of work between instants at which something is heard and decided."""

from collections.abc import Sequence
from math import inf
from pathlib import Path

import numpy as np

from schemas.records import Action, Assignment, ChannelDemand, Decision, Packaging, Plan
from streams.core.standing import assignment_key
from streams.simulate.scenario.audience import CHUNKED, PARTS, WHOLE, Audience, Drawn
from streams.simulate.scenario.brain import Brain
from streams.simulate.scenario.bursts import SAMPLE_MS, Bursts, bursts
from streams.simulate.scenario.casting import Find, Part, cast
from streams.simulate.scenario.crew import Crew
from streams.simulate.scenario.line import Line
from streams.simulate.scenario.outcome import Outcome
from streams.simulate.scenario.players import Players
from streams.simulate.scenario.pool import NEAR, Piece, cores_of, gop_ms
from streams.simulate.scenario.recorder import Recorder
from streams.simulate.scenario.spec import Scenario
from streams.simulate.scenario.timeline import Timeline

HOUR_MS = 3_600_000


def run(scenario: Scenario, *, find: Find = Path, parts: Sequence[Part] | None = None, audience: Audience | None = None) -> Outcome:
    """
    What a scenario comes to: equal arguments give equal outcomes.

    Args:
        scenario: All of it.
        find: Where a file that it names lies.
        parts: Channels instead of those it describes, by id in order.
        audience: Viewers instead of those it describes.

    Raises:
        UserError: A file that it names cannot be read.
    """
    parts = cast(scenario, find) if parts is None else tuple(parts)
    return _Run(scenario, parts, Drawn(scenario, parts, find) if audience is None else audience).all()


class _Run:
    def __init__(self, scenario: Scenario, parts: Sequence[Part], audience: Audience) -> None:
        self._scenario = scenario
        self._audience = audience
        self._rng = np.random.default_rng((scenario.seed, 4))
        self._lines = tuple(Line(number, part, Timeline(part.begins_ms, length_ms=_longest_ms(part))) for number, part in enumerate(parts))
        self._by_id = {line.part.channel: line for line in self._lines}
        self._plans: dict[str, Plan] = {}
        self._words: dict[str, Packaging] = {}
        self._crew = Crew(scenario)
        self._brain = Brain(scenario, self._lines)
        self._players = Players(scenario, self._lines)
        self._recorder = Recorder(scenario, self._players)
        self._kills = self._planned_kills()
        self._heard_ms = 0.0
        self._joins = np.zeros((len(parts), 3), dtype=np.int64)
        self._span_s = 1.0
        # What the same slices at the same packagers came to last: a sample stands for as long as nothing changes.
        self._late: Bursts | None = None
        self._broken: list[tuple[float, set[int]]] = []

    def _planned_kills(self) -> list[float]:
        faults, warmup, duration = self._scenario.faults, self._scenario.warmup, self._scenario.duration
        kills = [float(warmup + at) for at in faults.kill]
        kills += list(self._rng.uniform(warmup, warmup + duration, self._rng.poisson(faults.kills_per_hour * duration / HOUR_MS)))
        return sorted(kills)

    def all(self) -> Outcome:
        """Run it."""
        scenario, now = self._scenario, 0.0
        warmup, step = float(scenario.warmup), float(scenario.step)
        duration = float(scenario.end)
        next_step = step
        self._instant(now, is_step=True)
        while now < duration - NEAR:
            then = min(next_step, duration, max(now + 1.0, min(self._crew.next_ms, self._kills[0] if self._kills else inf)))
            self._span(now, then)
            now = then
            is_step = now >= next_step - NEAR
            if is_step:
                next_step += step
            if warmup and now >= warmup - NEAR:
                warmup = 0.0
                self._recorder, self._broken = Recorder(scenario, self._players), []
                self._players.reset()
                self._crew.reset()
            is_killed = self._kill_due(now)
            is_woken = self._crew.woken(now)
            if not self._crew.obeys:
                self._crew.scale(now, wanted=0, lag_chunks=self._lag_chunks(now))
            if is_step or is_woken or is_killed:
                self._instant(now, is_step=is_step, hears=not is_killed)
        return self._recorder.outcome(self._lines, self._crew)

    # ------------------------------------------------------------ spans

    def _span(self, start_ms: float, end_ms: float) -> None:
        """All that goes on by itself."""
        scenario, crew = self._scenario, self._crew
        crew.serve(start_ms, end_ms)
        sample_ms = max(SAMPLE_MS, float(scenario.channels.target))
        late = self._late
        if late is None or end_ms - start_ms <= sample_ms or any(p.path for m in crew.members for p in m.pieces.values()):
            late = bursts(
                crew.members, self._lines, scenario.pool.cost, start_ms=start_ms, end_ms=min(end_ms, start_ms + sample_ms),
                base_ms=float(scenario.pool.publish),
            )  # fmt: skip
            self._late = late if end_ms - start_ms > sample_ms else None
        self._recorder.span(self._lines, crew.working(end_ms), start_ms, end_ms)
        self._recorder.parts(late.parts, (end_ms - start_ms) / min(end_ms - start_ms, sample_ms))
        for line in self._lines:
            if line.wanted:
                self._account(line, late, start_ms, end_ms)
        self._players.settle(end_ms)
        self._recover(end_ms)

    def _account(self, line: Line, late: Bursts, start_ms: float, end_ms: float) -> None:
        made = line.account(start_ms, end_ms)
        self._recorder.lags(line, line.lags, start_ms)
        for one in made:
            samples = late.segments.get(line.number) if one.segments > 1 or not one.late_ms else None
            self._recorder.made(line, one, samples)

    def _recover(self, now_ms: float) -> None:
        """Slices of the killed that are at the live edge again."""
        for broken in list(self._broken):
            at, channels = broken
            lines = [self._lines[number] for number in channels]
            if all(not line.is_on or line.caught_ms < inf for line in lines) and now_ms > at:
                self._recorder.takeovers.append(round(max(line.caught_ms for line in lines if line.is_on) - at) if lines else 0)
                self._broken.remove(broken)

    def _lag_chunks(self, now_ms: float) -> float:
        """Chunks in the log that are wanted and not packaged."""
        chunk_ms = self._scenario.channels.part / 2
        late = ((line, line.lags[-1][1]) for line in self._lines if line.lags and line.is_open)
        return sum(lag / chunk_ms * line.tracks for line, lag in late)

    # ------------------------------------------------------------ instants

    def _kill_due(self, now_ms: float) -> bool:
        faults, is_killed = self._scenario.faults, False
        while self._kills and self._kills[0] <= now_ms + NEAR:
            self._kills.pop(0)
            working = self._crew.working(now_ms)
            if working:
                self._brain.hear_packagers(self._crew.members, now_ms)
                victim = working[int(self._rng.integers(len(working)))]
                self._crew.kill(victim, now_ms, restart=faults.restart)
                held = {piece.channel for piece in victim.pieces.values() if self._lines[piece.channel].is_on}
                if held:
                    self._broken.append((now_ms, held))
                policy = self._scenario.policy
                self._crew.wake(now_ms + policy.liveness.dead_after_ms + policy.planner.tick_ms / 2)
                is_killed = True
        return is_killed

    def _instant(self, now_ms: float, *, is_step: bool, hears: bool = True) -> None:
        """What is heard and decided."""
        if is_step:
            self._begin_and_end(now_ms)
            span = now_ms - self._heard_ms
            crowd = self._audience.advance(self._heard_ms, now_ms)
            self._joins, self._span_s, self._heard_ms = crowd.joins, max(span, 1.0) / 1_000, now_ms
            self._players.watch(crowd.sessions, span)
            self._players.join(crowd.joins, now_ms)
        if hears:
            self._brain.hear_packagers(self._crew.members, now_ms)
        self._brain.hear_channels(now_ms)
        demand, seen = self._demand(now_ms)
        self._brain.hear_demand(demand, now_ms)
        self._brain.forecast(seen, now_ms)
        decisions = self._brain.decide(now_ms)
        for decision in decisions:
            self._obey(decision, now_ms)
        gone = self._crew.leave(now_ms)
        if gone:
            self._brain.hear_packagers(gone, now_ms)
        self._crew.sweep()
        scaling = self._brain.standing.scaling
        if self._crew.obeys:
            self._crew.scale(now_ms, wanted=scaling.wanted if scaling else 0, lag_chunks=0.0)
        self._recorder.instant(decisions, self._brain.standing, now_ms)
        if is_step:
            self._recorder.step(self._lines, self._crew, self._brain.standing, now_ms)

    def _begin_and_end(self, now_ms: float) -> None:
        for line in self._lines:
            part = line.part
            if not line.begun and part.begins_ms <= now_ms and part.ends_ms > now_ms:
                line.begun = True
                self._brain.begin(line, now_ms)
            if not line.begun or part.ends_ms > now_ms:
                continue
            if line.end_msn == inf and not line.ends_with:
                line.ends_with = line.timeline.open_at(now_ms) + 1
            if line.ends_with and line.end_msn == inf and line.timeline.open_at(now_ms) >= line.ends_with:
                line.end_msn = line.ends_with
                self._brain.end(line, now_ms)
                self._brain.forget(part.channel)

    def _demand(self, now_ms: float) -> tuple[list[ChannelDemand], dict[str, tuple[float, float]]]:
        """What an origin sees in a second, and what the models learn."""
        demand, seen = [], {}
        players = self._scenario.players
        phi = sum(players.phi) / len(players.phi)
        sessions, joined, span_s = self._players.sessions.tolist(), self._joins.sum(axis=1).tolist(), self._span_s
        dice = self._rng.random(len(self._lines))
        for line in self._lines:
            if not line.begun or line.end_msn < inf:
                continue
            counts, joins = sessions[line.number], joined[line.number]
            total = sum(counts)
            seen[line.part.channel] = float(total), joins / span_s
            waits = self._players.waiting.get(line.number, ())
            if not total and not joins and not waits:
                continue
            length = line.timeline.length(line.timeline.open_at(now_ms))
            rate = line.part.bytes_per_s[0]
            demand.append(
                ChannelDemand(
                    channel=line.part.channel,
                    whole_sessions=counts[WHOLE],
                    part_sessions=counts[PARTS],
                    chunked_sessions=counts[CHUNKED],
                    joins=int(joins / span_s + dice[line.number]),
                    requests=round(self._players.requests_per_s(line, counts, length)),
                    sent_bytes=round(total * rate),
                    throughput_kbps_p50=round(rate / 125 / phi),
                    first_request=not line.is_on,
                    low_latency_requests=sum(w.count for w in waits if w.kind != WHOLE),
                )
            )
        return demand, seen

    # ------------------------------------------------------------ obeying

    def _obey(self, decision: Decision, now_ms: float) -> None:
        for plan in decision.plans:
            self._plan(plan, now_ms)
        for word in decision.packaging:
            if self._words.get(word.channel) != word and word.decision == decision.number:
                self._package(word, now_ms)
        for key in decision.ended_slices:
            self._end(key)
        if decision.whole:
            kept = {assignment_key(given) for given in decision.assignments}
            for key in [key for line in self._lines for key in line.pieces if key not in kept]:
                self._end(key)
        for given in decision.assignments:
            self._give(given, now_ms)
        for void in decision.voids:
            line = self._by_id[void.channel]
            if void.decision == decision.number:
                line.void(void.msn, void.track, now_ms)

    def _plan(self, plan: Plan, now_ms: float) -> None:
        before, line = self._plans.get(plan.channel), self._by_id[plan.channel]
        self._plans[plan.channel], self._late = plan, None
        if before and _shape(before) == _shape(plan):
            return
        if before:
            self._recorder.plan_changes += 1
        line.timeline.plan(now_ms, plan.gops_per_segment * line.gop_ms)
        for piece in line.pieces.values():
            piece.cores = self._cores(line, piece.given)

    def _package(self, word: Packaging, now_ms: float) -> None:
        line, before = self._by_id[word.channel], self._words.get(word.channel)
        self._words[word.channel] = word
        if word.action is Action.STOP:
            line.stop(word.from_msn)
            return
        if not before or before.action is not Action.START:
            line.start(word.from_msn, word.level, now_ms)
        line.change(word.level, max(word.from_msn, word.parts_from_msn), now_ms)

    def _cores(self, line: Line, given: Assignment) -> float:
        length = line.timeline.newest_length
        return cores_of(line.part, self._scenario.pool.cost, tracks=given.tracks, turns=given.turns, level=given.level, length_ms=length)

    def _end(self, key: str) -> None:
        line = self._by_id[key.split("/", 1)[0]]
        piece = line.pieces.pop(key, None)
        self._late = None
        if piece:
            self._crew.holder(piece.given.life).pieces.pop(key, None)
            self._crew.nobody.pieces.pop(key, None)

    def _give(self, given: Assignment, now_ms: float) -> None:
        key, line = assignment_key(given), self._by_id[given.channel]
        piece = line.pieces.get(key)
        if piece and piece.given == given:
            return
        if piece and (piece.given.life, piece.given.epoch) == (given.life, given.epoch):
            piece.given, piece.cores, piece.instants = given, self._cores(line, given), None
            return
        holder = self._crew.holder(given.life)
        if piece:
            if piece.given.life != given.life and holder.is_up:
                self._recorder.moves[given.reason.value] += 1
            self._end(key)
        begins = line.timeline.start(given.from_msn)
        ready_ms = now_ms + self._scenario.pool.handover
        fresh = Piece(key, given, line.number, line.timeline, self._cores(line, given), begins, ready_ms)
        line.pieces[key] = holder.pieces[key] = fresh
        line.has_trouble, self._late = True, None


def _shape(plan: Plan) -> tuple[object, ...]:
    return plan.level, plan.gops_per_segment, plan.groups, plan.turns, plan.copies


def _longest_ms(part: Part) -> float:
    """The longest segment that the target duration allows: what an encoder without a plan makes."""
    gop = gop_ms(part)
    return gop * max(1, int((part.period.target_duration_ms + 0.5) / gop))
