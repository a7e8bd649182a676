"""Make every recorded decision again from the recorded topics, to see that it comes out equal."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from schemas.codec import to_json
from schemas.records import Decision
from schemas.settings import KafkaSettings
from schemas.topics import DECISIONS, INPUTS
from schemas.units import UnixMs
from streams.core.decide import Cause, apply, decide, whole
from streams.core.policy import Policy
from streams.core.standing import Standing, counts
from streams.core.state import State

from .entries import Entry
from .positions import Position
from .reader import Progress, Stretch, read, stretches

SHOWN_MAX = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """
    What came of making decisions again.

    Attributes:
        equal: Decisions that came out as recorded.
        unproved: Decisions whose inputs are no longer in the log, or that a stale planner left and nobody follows.
        difference: The first that came out otherwise, explained; empty when there is none.
    """

    equal: int = 0
    unproved: int = 0
    difference: str = ""

    @property
    def is_equal(self) -> bool:
        """Nothing came out otherwise."""
        return not self.difference

    def __str__(self) -> str:
        told = (
            f"{self.equal} decisions made again, all equal"
            if self.is_equal
            else f"{self.equal} decisions equal, then one is not:\n{self.difference}"
        )
        return f"{told}; {self.unproved} could not be made again" if self.unproved else told


def redecide_log(
    kafka: KafkaSettings, *, begin: Position | None = None, end: Position | None = None, progress: Progress | None = None
) -> Verdict:
    """
    Make the decisions of all pools between two positions again, pool after pool.

    Raises:
        UserError: The cluster does not answer.
    """
    wanted = stretches(kafka, [DECISIONS], begin=begin, end=end)
    inputs = stretches(kafka, INPUTS)
    total, seen = sum(stretch.end - stretch.first for stretch in wanted), 0
    verdict = Verdict()
    for stretch in wanted:
        told = (lambda done, _, before=seen: progress(before + done, total)) if progress else None
        sources = {title: _source(kafka, inputs, title, stretch.partition) for title in (topic.title for topic in INPUTS)}
        whole_log = all(i.first == 0 for i in inputs if i.partition == stretch.partition and i.topic.retention)
        made = redecide(read(kafka, [stretch], progress=told), sources, topic_prefix=kafka.topic_prefix, inputs_are_whole=whole_log)
        verdict = Verdict(equal=verdict.equal + made.equal, unproved=verdict.unproved + made.unproved, difference=made.difference)
        seen += stretch.end - stretch.first
        if made.difference:
            break
    return verdict


def redecide(
    decisions: Iterable[Entry], inputs: Mapping[str, Iterator[Entry]], *, topic_prefix: str, inputs_are_whole: bool = True
) -> Verdict:
    """
    Make recorded decisions of one pool again; they follow one another from the first whole one on.

    Args:
        decisions: Entries of `decisions`.
        inputs: Entries of each input topic of that pool, by title, in order.
        topic_prefix: Prefix of the topics' names, as causes and inputs name them.
        inputs_are_whole: The input topics still hold their first records; else decisions count once the folds have filled.
    """
    replayed = _Replay(inputs, topic_prefix)
    equal = unproved = 0
    for entry in decisions:
        recorded = entry.record
        if not isinstance(recorded, Decision):
            continue
        if not replayed.follows(recorded, offset=entry.offset):
            unproved += 1
            continue
        is_first = replayed.standing.number == 0
        made = replayed.make(recorded)
        is_proof = inputs_are_whole or replayed.is_full(recorded)
        if is_first and recorded.number != 1 and not any(_same(one, recorded) for one in made):
            unproved += 1  # what it restates was decided before this stretch begins
        elif any(_same(one, recorded) for one in made):
            equal += 1
        elif is_proof:
            where = f"decision {recorded.number} of pool {recorded.pool} at offset {entry.offset}"
            return Verdict(equal=equal, unproved=unproved, difference=_explain(where, recorded, made[0]))
        else:
            unproved += 1
        replayed.take(recorded)
    return Verdict(equal=equal, unproved=unproved)


class _Replay:
    """Folds and standing of one pool, brought to where each decision was made."""

    def __init__(self, inputs: Mapping[str, Iterator[Entry]], topic_prefix: str) -> None:
        self._inputs = inputs
        self._waiting: dict[str, Entry] = {}
        self._prefix = topic_prefix
        self._state: State | None = None
        self._first_unix_ms: UnixMs | None = None
        self.standing = Standing.empty(0)

    def follows(self, recorded: Decision, *, offset: int) -> bool:
        """It is the next of those that count."""
        if not counts(recorded, offset=offset):
            return False
        if self.standing.number == 0:
            self.standing = Standing.empty(recorded.pool)
            return recorded.whole
        return recorded.number == self.standing.number + 1

    def make(self, recorded: Decision) -> list[Any]:
        """What is decided from the inputs that it names: as a step, and as the first word of a planner that takes over."""
        policy = Policy.from_json(recorded.policy)
        if self._state is None:
            self._state = State(recorded.pool, policy.planner.memory_ms, topic_prefix=self._prefix)
        for read_to in recorded.inputs:
            self._fold(self._state, read_to.topic.removeprefix(self._prefix), read_to.next_offset)
        now, version = recorded.at_unix_ms, recorded.code_version
        cause = Cause(source=recorded.cause) if recorded.cause else None
        made = [decide(self._state, self.standing, policy, now=now, code_version=version, cause=cause)]
        if recorded.whole:
            made.append(whole(self._state, self.standing, policy, now=now, code_version=version, cause=cause))
        return made

    def take(self, recorded: Decision) -> None:
        """It is in force."""
        self.standing = apply(self.standing, recorded)

    def is_full(self, recorded: Decision) -> bool:
        """The inputs reach back as far as it may have looked."""
        memory_ms = Policy.from_json(recorded.policy).planner.memory_ms
        return self._first_unix_ms is not None and recorded.at_unix_ms - self._first_unix_ms > memory_ms

    def _fold(self, state: State, title: str, next_offset: int) -> None:
        while True:
            entry = self._waiting.pop(title, None) or next(self._inputs[title], None)
            if entry is None:
                return
            if entry.offset >= next_offset:
                self._waiting[title] = entry
                return
            if entry.record is not None:  # a tombstone tells nothing, and what cannot be read is no input
                state.fold(title, entry.record, offset=entry.offset, at=entry.at_unix_ms)
                self._first_unix_ms = min(self._first_unix_ms or entry.at_unix_ms, entry.at_unix_ms)


def _source(kafka: KafkaSettings, inputs: Iterable[Stretch], title: str, pool: int) -> Iterator[Entry]:
    return read(kafka, [stretch for stretch in inputs if stretch.topic.title == title and stretch.partition == pool])


def _same(made: Decision | None, recorded: Decision) -> bool:
    # Inputs are what it was made from, by construction; compaction of `channels` may have taken the record that its offset follows.
    return made is not None and replace(made, inputs=recorded.inputs, lands_at=recorded.lands_at) == recorded


def _explain(where: str, recorded: Decision, made: Decision | None) -> str:
    if made is None:
        return f"{where}: nothing would be decided now; recorded is {_short(recorded)}"
    lines = [
        f"  {field.name}:\n    recorded {_difference(was, now)}\n    made now {_difference(now, was)}"
        for field in dataclasses.fields(Decision)
        if field.name != "inputs" and (was := getattr(recorded, field.name)) != (now := getattr(made, field.name))
    ]
    return f"{where}:\n" + "\n".join(lines)


def _difference(mine: Any, other: Any) -> str:
    if isinstance(mine, tuple) and isinstance(other, tuple):
        return ", ".join(_short(item) for item in mine if item not in other) or f"{len(mine)} items, none but in the other"
    return _short(mine)


def _short(value: Any) -> str:
    text = to_json(value).decode() if dataclasses.is_dataclass(value) else str(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."
