"""Counts what a run does, and sums it up."""

from collections import Counter
from collections.abc import Sequence
from math import inf

from schemas.records import Decision
from streams.core.standing import Standing
from streams.simulate.scenario.crew import Crew
from streams.simulate.scenario.line import Line, Made
from streams.simulate.scenario.outcome import ClassOutcome, Moment, Outcome
from streams.simulate.scenario.players import CLASSES, Players
from streams.simulate.scenario.pool import Floats, Packager
from streams.simulate.scenario.spec import Scenario
from streams.simulate.scenario.tally import Tally

HOUR_MS = 3_600_000


class Recorder:
    """Figures of one run while it goes on."""

    def __init__(self, scenario: Scenario, players: Players) -> None:
        self._scenario = scenario
        self._players = players
        self.segments = Tally()
        self.part_times = Tally()
        self.moves: Counter[str] = Counter()
        self.plan_changes = 0
        self.takeovers: list[int] = []
        self._made = self._back = self._void = self._decisions = 0
        self._packaged_ms = self._live_ms = self._queued_ms = self._requests = self._slices_ms = 0.0
        self._ratio_ms = self._ratio_span_ms = 0.0
        self._queued = 0
        self._late_since = 0.0
        self._most = 0
        self._moments: list[Moment] = []

    # ------------------------------------------------------------ while it runs

    def span(self, lines: Sequence[Line], working: Sequence[Packager], start_ms: float, end_ms: float) -> None:
        """A span has passed."""
        span, sessions = end_ms - start_ms, self._players.sessions.tolist()
        for line in lines:
            if line.begun and line.end_msn == inf:
                self._live_ms += span
                self._packaged_ms += span if line.is_on else 0.0
                counts = sessions[line.number]
                length = line.timeline.length(line.timeline.open_at(start_ms))
                self._requests += self._players.requests_per_s(line, counts, length) * span / 1_000
        self._queued_ms += self._queued * span
        self._slices_ms += sum(len(packager.pieces) for packager in working) * span
        shares = [packager.demanded / packager.cores for packager in working]
        if shares and sum(shares):
            self._ratio_ms += max(shares) / (sum(shares) / len(shares)) * span
            self._ratio_span_ms += span

    def parts(self, late: Floats, weight: float) -> None:
        """Lateness of parts, each standing for so many."""
        self.part_times.add_all(late, weight)

    def lags(self, line: Line, lags: Sequence[tuple[float, float]], start_ms: float) -> None:
        """How far behind a channel was at instants of a span."""
        before_ms, before = start_ms, lags[0][1] if lags else 0.0
        for at, lag in lags:
            self._players.lag(line, lag)
            self.part_times.add((before + lag) / 2, (at - before_ms) / self._scenario.channels.part * line.tracks)
            before_ms, before = at, lag

    def made(self, line: Line, made: Made, samples: Floats | None) -> None:
        """Segments were made; samples: lateness of some of them that were in time."""
        self._made += made.segments
        self._void += made.is_void * made.segments
        if made.is_back:
            self._back += made.segments
            return
        base = float(self._scenario.pool.publish)
        if samples is None or not len(samples):
            self.segments.add(made.late_ms + base, made.segments)
            self._late_since = max(self._late_since, made.late_ms + base)
        else:
            self.segments.add_all(samples, made.segments / len(samples))
            self._late_since = max(self._late_since, float(samples.max()))
        if made.late_ms:
            self._players.late(line, made.late_ms, line.timeline.length(made.msn))

    def instant(self, decisions: Sequence[Decision], standing: Standing, now_ms: float) -> None:
        """Something was decided, or nothing."""
        del now_ms
        self._decisions += len(decisions)
        self._queued = len(standing.queued)

    def step(self, lines: Sequence[Line], crew: Crew, standing: Standing, now_ms: float) -> None:
        """A step has passed: what pictures show."""
        working = crew.working(now_ms)
        shares = [packager.demanded / packager.cores for packager in working] or [0.0]
        on = [line for line in lines if line.is_on]
        lengths = [line.timeline.length(line.timeline.open_at(now_ms)) for line in on]
        up = len(crew.up())
        self._most = max(self._most, up)
        self._moments.append(
            Moment(
                at_s=(now_ms - self._scenario.warmup) / 1_000,
                sessions=int(self._players.sessions.sum()),
                wanted=standing.scaling.wanted if standing.scaling and crew.obeys else up,
                alive=len(working),
                load_max=max(shares),
                load_mean=sum(shares) / len(shares),
                late_ms=self._late_since,
                length_s=sum(lengths) / len(lengths) / 1_000 if lengths else 0.0,
                packaged=len(on),
                queued=self._queued,
            )
        )
        self._late_since = 0.0

    # ------------------------------------------------------------ at the end

    def outcome(self, lines: Sequence[Line], crew: Crew) -> Outcome:
        """All of it."""
        scenario, players = self._scenario, self._players
        span, allowance = float(scenario.duration), scenario.policy.media.publish_allowance_ms
        joins = Tally()
        for tally in players.joins:
            joins.merge(tally)
        viewer_s = sum(stalls.viewer_s for stalls in players.stalls)
        return Outcome(
            hours=span / HOUR_MS,
            channels=sum(line.begun for line in lines),
            packager_hours=crew.paid_ms / HOUR_MS,
            packagers_most=self._most,
            core_hours=crew.used_core_ms / HOUR_MS,
            packaged_hours=self._packaged_ms / HOUR_MS,
            live_hours=self._live_ms / HOUR_MS,
            segments=self._made - self._void,
            segments_back=self._back,
            late=self.segments.above(allowance),
            late_p99_ms=self.segments.quantile(0.99),
            late_max_ms=self.segments.most,
            part_late_p99_ms=self.part_times.quantile(0.99),
            void=self._void,
            unmade=sum(line.unmade(scenario.warmup + span - scenario.channels.target) for line in lines),
            viewers={name: self._viewers(kind) for kind, name in enumerate(CLASSES)},
            join_p50_ms=joins.quantile(0.5),
            join_p95_ms=joins.quantile(0.95),
            unjoined=sum(waits.count for waiting in players.waiting.values() for waits in waiting),
            stalls=round(sum(stalls.count for stalls in players.stalls)),
            stall_s_per_h=sum(stalls.seconds for stalls in players.stalls) / max(viewer_s / 3_600, 1e-9),
            moves=self.moves,
            plan_changes=self.plan_changes,
            decisions=self._decisions,
            slices=self._slices_ms / span,
            queued_s=self._queued_ms / 1_000,
            requests=self._requests,
            load_ratio=self._ratio_ms / self._ratio_span_ms if self._ratio_span_ms else 1.0,
            started=crew.started,
            drained=crew.drained,
            killed=crew.killed,
            takeovers_ms=tuple(self.takeovers),
            moments=tuple(self._moments),
        )

    def _viewers(self, kind: int) -> ClassOutcome:
        tally, stalls = self._players.joins[kind], self._players.stalls[kind]
        return ClassOutcome(
            joins=round(tally.total),
            join_p50_ms=tally.quantile(0.5),
            join_p95_ms=tally.quantile(0.95),
            stalls=round(stalls.count),
            stall_s_per_h=stalls.seconds / max(stalls.viewer_s / 3_600, 1e-9),
            viewer_hours=stalls.viewer_s / 3_600,
        )
