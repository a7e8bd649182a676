"""Everything in force: the sum of all decisions so far, and the records that tell others of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.records import Action, Assignment, DeadLife, Decision, Packaging, Plan, Queued, Reason, Reject, Scaling, Void
from schemas.topics import ASSIGNMENTS, MEDIA, PLANS, REJECTS, REPORTS, SCALING, Topic, life_key, slice_key
from schemas.units import Epoch, UnixMs

# A dead life is remembered until this many have died after it; for longer than memories of heartbeats last, which would show it as
# alive, unless these are so many that the pool has other sorrows.
DEAD_MIN, DEAD_MS, DEAD_MAX = 256, 30 * 60_000, 4_096
# Voids are remembered here until their reports are folded, which takes milliseconds; while it does not, no more are declared.
VOIDS_MAX = 256
# Who holds a slice that nobody has had yet: no packager has a life without a name.
NOBODY = "nobody"
NO_LIFE = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """
    What decisions have put in force; a decision sees the past through it alone.

    Attributes:
        pool: Pool.
        number: Number of the newest decision; 0 before the first.
        at_unix_ms: Time of the newest decision.
        whole_unix_ms: Time of the newest whole decision; 0 before the first.
        plans: Granularity by channel.
        assignments: Assignments by ``slice/copy``. One to a dead life, or to `NOBODY`, is a bookmark: the work goes on there when capacity
            is found.
        packaging: Newest start or stop by channel.
        voids: Newest segments declared lost.
        dead: Lives declared dead, by ``packager/life``, oldest first.
        queued: Slices that wait, by ``slice/copy``.
        scaling: Packagers wanted; absent before the first decision on it.
    """

    pool: int
    number: int = 0
    at_unix_ms: UnixMs = UnixMs(0)
    whole_unix_ms: UnixMs = UnixMs(0)
    plans: Mapping[str, Plan] = field(default_factory=dict)
    assignments: Mapping[str, Assignment] = field(default_factory=dict)
    packaging: Mapping[str, Packaging] = field(default_factory=dict)
    voids: tuple[Void, ...] = ()
    dead: Mapping[str, DeadLife] = field(default_factory=dict)
    queued: Mapping[str, Queued] = field(default_factory=dict)
    scaling: Scaling | None = None

    @classmethod
    def empty(cls, pool: int) -> "Standing":
        """Nothing is in force before the first decision."""
        return cls(pool=pool)

    @property
    def epochs(self) -> Mapping[str, Epoch]:
        """
        Epoch of each assignment in force, by ``slice/copy``.

        An epoch is the number of the decision that gave the slice away, so it rises also after a slice has ended and was forgotten.
        """
        return {key: assignment.epoch for key, assignment in self.assignments.items()}

    def is_packaged(self, channel: str) -> bool:
        """Whether the newest word on a channel's packaging is a start."""
        packaging = self.packaging.get(channel)
        return packaging is not None and packaging.action is Action.START

    def waiting_alone(self) -> list[Queued]:
        """Slices that wait and that nobody makes: another copy of what somebody makes is a spare one, whatever its number."""
        if not self.queued:
            return []
        made = {
            a.slice_id
            for a in self.assignments.values()
            if a.packager_id != NOBODY and life_key(a.packager_id, a.life) not in self.dead and a.until_msn is None and not a.hedges
        }
        return [queued for queued in self.queued.values() if queued.slice_id not in made]


def assignment_key(assignment: Assignment) -> str:
    """Key of an assignment, ``slice/copy``."""
    return slice_key(assignment.slice_id, assignment.copy)


def counts(decision: Decision, *, offset: int) -> bool:
    """
    Whether a decision found at an offset of the journal is in force.

    A planner names the offset that it expects; it lands elsewhere when another appended since, and that one counts. So
    every reader agrees, wherever it begins to read.
    """
    return decision.lands_at == offset


def since_whole(counted: Sequence[Decision]) -> Sequence[Decision]:
    """Of decisions that count, in order: the newest whole one and what follows it; none without one."""
    newest = max((index for index, decision in enumerate(counted) if decision.whole), default=len(counted))
    return counted[newest:]


def apply(standing: Standing, decision: Decision) -> Standing:
    """
    What is in force after a decision: a whole one replaces everything, any other changes what it names.

    Raises:
        ValueError: It does not follow: another pool, or its number is not the next. A whole decision may follow what is missing.
    """
    if decision.pool != standing.pool:
        raise ValueError(f"a decision of pool {decision.pool} does not follow one of pool {standing.pool}")
    if decision.number != standing.number + 1 and not (decision.whole and decision.number > standing.number):
        raise ValueError(f"decision {decision.number} does not follow {standing.number}")
    before = Standing.empty(standing.pool) if decision.whole else standing
    ended_channels, ended_slices = set(decision.ended_channels), set(decision.ended_slices)
    plans = {channel: plan for channel, plan in before.plans.items() if channel not in ended_channels}
    assignments = {key: assignment for key, assignment in before.assignments.items() if key not in ended_slices}
    packaging = {channel: word for channel, word in before.packaging.items() if channel not in ended_channels}
    dead = {**before.dead, **{life_key(life.packager_id, life.life): life for life in decision.dead}}
    return Standing(
        pool=standing.pool,
        number=decision.number,
        at_unix_ms=decision.at_unix_ms,
        whole_unix_ms=decision.at_unix_ms if decision.whole else standing.whole_unix_ms,
        plans=plans | {plan.channel: plan for plan in decision.plans},
        assignments=assignments | {assignment_key(assignment): assignment for assignment in decision.assignments},
        packaging=packaging | {word.channel: word for word in decision.packaging},
        voids=(*before.voids, *decision.voids)[-VOIDS_MAX:],
        dead=_remembered(dead, decision.at_unix_ms),
        queued={slice_key(queued.slice_id, queued.copy): queued for queued in decision.queued},
        scaling=decision.scaling or before.scaling,
    )


def _remembered(dead: Mapping[str, DeadLife], now: UnixMs) -> dict[str, DeadLife]:
    lately = sum(1 for life in dead.values() if now - life.at_unix_ms < DEAD_MS)
    return dict(list(dead.items())[-min(max(DEAD_MIN, lately), DEAD_MAX) :])


@dataclass(frozen=True, kw_only=True, slots=True)
class Projection:
    """
    A record that follows from a decision.

    Attributes:
        topic: Where it is sent, to the partition of the pool.
        key: Its key.
        record: The record; None is a tombstone.
    """

    topic: Topic
    key: str
    record: Any | None


def projections(decision: Decision, standing_before: Standing) -> list[Projection]:
    """
    The records that tell others of a decision, in the order they are to be sent.

    Each carries the decision's number, also what a whole one restates: so it prevails over whatever a stale planner left.
    """
    number = decision.number

    def put(topic: Topic, key: str, record: Any) -> Projection:
        return Projection(topic=topic, key=key, record=replace(record, decision=number))

    def tell(word: Packaging) -> Packaging:
        return word if word.decision == number else replace(word, cause="")

    restates = decision.whole
    ended = {*decision.ended_slices}
    if restates:
        kept = {assignment_key(assignment) for assignment in decision.assignments}
        ended |= set(standing_before.assignments) - kept
    ended_channels = {*decision.ended_channels}
    if restates:
        ended_channels |= set(standing_before.plans) - {plan.channel for plan in decision.plans}
    sent = [put(PLANS, plan.channel, plan) for plan in decision.plans]
    # A start is told before the first segment that follows from it can be reported.
    sent += [put(REPORTS, word.channel, tell(word)) for word in decision.packaging]
    died = (life_key(dead.packager_id, dead.life) for dead in decision.dead)
    sent += [Projection(topic=ASSIGNMENTS, key=key, record=None) for key in died if key not in standing_before.dead]
    sent += [put(ASSIGNMENTS, assignment_key(assignment), assignment) for assignment in decision.assignments]
    sent += [put(REPORTS, void.channel, void) for void in decision.voids]
    fresh = [void for void in decision.voids if void.decision == number]
    sent += [Projection(topic=REJECTS, key=MEDIA.title, record=_refused(v)) for v in fresh if v.reason is Reason.FAILED_THRICE]
    sent += [Projection(topic=ASSIGNMENTS, key=key, record=None) for key in sorted(ended)]
    sent += [Projection(topic=PLANS, key=channel, record=None) for channel in sorted(ended_channels)]
    if decision.scaling:
        sent.append(put(SCALING, str(decision.pool), decision.scaling))
    return sent


def _refused(void: Void) -> Reject:
    """What nobody could package: where it lies in the log, its bytes stay there."""
    return Reject(
        source_topic=MEDIA.title,
        source_partition=void.media_partition,
        source_offset=void.first_offset,
        source_key=void.channel.encode(),
        payload=b"",
        payload_size=0,
        error=f"segment {void.msn} of {void.channel}/{void.period}/{void.track}, offsets {void.first_offset} to before "
        f"{void.until_offset}: every packager that tried failed to make it",
        rejected_by="planner",
    )


def orphans(topic: Topic, keys: Iterable[str], standing: Standing) -> list[Projection]:
    """Tombstones for keys of `assignments` or `plans` that stand in the topic but not in force: a crash kept theirs from being sent."""
    held: Mapping[str, Any] = standing.assignments if topic is ASSIGNMENTS else standing.plans
    return [Projection(topic=topic, key=key, record=None) for key in sorted(set(keys) - set(held))]
