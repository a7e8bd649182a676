"""Make every recorded decision again from the recorded topics, to see that it comes out equal."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.errors import RejectedError, UserError
from schemas.records import Decision
from schemas.settings import KafkaSettings
from schemas.topics import DECISIONS, INPUTS, Cleanup
from schemas.units import UnixMs
from streams.core.decide import Cause, apply, decide, whole
from streams.core.policy import Policy
from streams.core.standing import Standing, counts
from streams.core.state import State

from .entries import Entry
from .explain import explain
from .positions import Position, Time
from .reader import Progress, Stretch
from .sources import KafkaSource, Source

# Decisions looked at in one step back in search of a whole one: a minute of a busy pool.
BLOCK = 500
# Folds are begun this many times their memory before the first decision, so that whatever lay open at that edge has closed.
MEMORIES = 2

OVERTAKEN = "left by a planner that another had overtaken"
NO_WHOLE = "before the first that restates everything"
RESTATES = "restate what was decided before the log begins"
BROKEN = "after a record that is missing or cannot be read"
TOO_OLD = "made from records that the log no longer has"
POLICY = "made with a policy that this version does not understand"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """
    What came of making decisions again.

    Attributes:
        equal: Decisions that came out as recorded.
        reasons: Why others could not be made again, and how many.
        difference: The first that came out otherwise, explained; empty when there is none.
    """

    equal: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    difference: str = ""

    @property
    def is_equal(self) -> bool:
        """Nothing came out otherwise."""
        return not self.difference

    @property
    def unproved(self) -> int:
        """Decisions that could not be made again."""
        return sum(self.reasons.values())

    def __str__(self) -> str:
        """
        One line; with a difference, some.

        >>> print(Verdict(equal=7, reasons={RESTATES: 1}))
        7 decisions made again, all equal; 1 could not be: 1 restate what was decided before the log begins
        """
        told = (
            f"{self.equal} decisions made again, all equal"
            if self.is_equal
            else f"{self.equal} decisions made again are equal, then one is not\n{self.difference}"
        )
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(self.reasons.items()))
        return f"{told}{'; ' if self.is_equal else chr(10)}{self.unproved} could not be: {why}" if self.unproved else told


def redecide_log(
    source: Source | KafkaSettings,
    *,
    begin: Position | None = None,
    end: Position | None = None,
    progress: Progress | None = None,
    code_version: str = "",
) -> Verdict:
    """
    Make the decisions of all pools between two positions again, pool after pool.

    What was in force at the first of them is taken from the newest whole decision before it, and the folds are filled from as far back
    as decisions look.

    Raises:
        UserError: The log cannot be read, or no decision lies there.
    """
    log = KafkaSource(source) if isinstance(source, KafkaSettings) else source
    wanted = log.stretches([DECISIONS], begin=begin, end=end)
    if not wanted:
        raise UserError(
            "no decision lies in this stretch of the log", do="leave out --from and --to for all there are, or start `finecut up`"
        )
    kept = {stretch.partition: stretch for stretch in log.stretches([DECISIONS])}
    total, seen = sum(stretch.end - stretch.first for stretch in wanted), 0
    verdict = Verdict()
    for stretch in wanted:
        told = (lambda done, _, before=seen: progress(min(before + done, total), total)) if progress else None
        head = whole_before(log, stretch, first=kept[stretch.partition].first)
        inputs = Inputs(log, stretch.partition, since=_since(log, head))
        made = redecide(log.read([head], progress=told), inputs, judged_from=stretch.first, code_version=code_version)
        reasons = Counter(verdict.reasons) + Counter(made.reasons)
        verdict = Verdict(equal=verdict.equal + made.equal, reasons=dict(reasons), difference=made.difference)
        seen += stretch.end - stretch.first
        if made.difference:
            break
    return verdict


def whole_before(log: Source, stretch: Stretch, *, first: int) -> Stretch:
    """A stretch of decisions made longer at its beginning, so that it begins with a whole one that counts, if the log holds one."""
    start = stretch.first
    while start > first:
        start, before = max(first, start - BLOCK), start
        for entry in reversed(list(log.read([replace(stretch, first=start, end=before)]))):
            if isinstance(entry.record, Decision) and entry.record.whole and counts(entry.record, offset=entry.offset):
                return replace(stretch, first=entry.offset)
    return replace(stretch, first=start)


class Inputs:
    """
    The input topics of one pool, each read on as decisions name it.

    Args:
        log: Where they are.
        pool: Their partition.
        since: Where reading those that are not compacted begins; None: at their first record.
    """

    def __init__(self, log: Source, pool: int, *, since: UnixMs | None) -> None:
        begin = Time(since) if since is not None else None
        lows = {s.topic.title: s.first for s in log.stretches(INPUTS) if s.partition == pool}
        self._entries: dict[str, Iterator[Entry]] = {}
        self._cut: set[str] = set()
        for topic in INPUTS:
            is_compacted = topic.cleanup is Cleanup.COMPACT
            found = [s for s in log.stretches([topic], begin=None if is_compacted else begin) if s.partition == pool]
            self._entries[topic.title] = log.read(found)
            # It begins with the first record that is kept, and others came before: some that count may be gone.
            if not is_compacted and found and found[0].first == lows[topic.title] > 0:
                self._cut.add(topic.title)
        self._waiting: dict[str, Entry] = {}
        self.cut_unix_ms = UnixMs(0)

    def until(self, title: str, next_offset: int) -> Iterator[Entry]:
        """What of a topic comes before an offset and was not given yet."""
        while (entry := self._waiting.pop(title, None) or next(self._entries[title], None)) is not None:
            if title in self._cut:
                self._cut.remove(title)
                self.cut_unix_ms = max(self.cut_unix_ms, entry.at_unix_ms)
            if entry.offset >= next_offset:
                self._waiting[title] = entry
                return
            yield entry


def redecide(decisions: Iterable[Entry], inputs: Inputs, *, judged_from: int = 0, code_version: str = "") -> Verdict:
    """
    Make recorded decisions of one pool again; they follow one another from the first whole one on.

    Args:
        decisions: Entries of `decisions`.
        inputs: What they were made from.
        judged_from: Those at offsets below it only tell what was in force.
        code_version: Of the code that runs now, for the explanation.
    """
    replayed = _Replay(inputs)
    equal, reasons = 0, Counter[str]()
    for entry in decisions:
        reason = replayed.problem(entry)
        is_judged = entry.offset >= judged_from
        if reason:
            reasons[reason] += is_judged
            continue
        recorded: Decision = entry.record
        try:
            made = replayed.make(recorded)
        except ValueError:
            reasons[POLICY] += is_judged
            replayed.take(recorded)
            continue
        is_first = replayed.standing.number == 0 and recorded.number != 1
        replayed.take(recorded)
        if not is_judged:
            continue
        if any(_same(one, recorded) for one in made):
            equal += 1
        elif is_first:
            reasons[RESTATES] += 1
        elif not replayed.is_full(recorded):
            reasons[TOO_OLD] += 1
        else:
            told = explain(recorded, made[0], offset=entry.offset, code_version=code_version)
            return Verdict(equal=equal, reasons=+reasons, difference=told)
    return Verdict(equal=equal, reasons=+reasons)


class _Replay:
    """Folds and standing of one pool, brought to where each decision was made."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._state: State | None = None
        self._grown_unix_ms = UnixMs(0)
        self.standing = Standing.empty(0)

    def problem(self, entry: Entry) -> str:
        """Why it cannot be made again; empty if it is the next of those that count, or a whole one after a hole."""
        recorded = entry.record
        if not isinstance(recorded, Decision):
            return BROKEN
        if not counts(recorded, offset=entry.offset):
            return OVERTAKEN
        if self.standing.number and recorded.number == self.standing.number + 1:
            return ""
        if recorded.whole:
            self.standing = Standing.empty(recorded.pool)
            return ""
        return BROKEN if self.standing.number else NO_WHOLE

    def make(self, recorded: Decision) -> list[Decision | None]:
        """
        What is decided from the inputs that it names: as a step, and as the first word of a planner that takes over.

        Raises:
            ValueError: Its policy is none of this version.
        """
        policy = Policy.from_json(recorded.policy)
        state = self._folded(recorded, policy.planner.memory_ms)
        now, version = recorded.at_unix_ms, recorded.code_version
        cause = Cause(source=recorded.cause) if recorded.cause else None
        made = [decide(state, self.standing, policy, now=now, code_version=version, cause=cause)]
        if recorded.whole:
            made.append(whole(state, self.standing, policy, now=now, code_version=version, cause=cause))
        return made

    def take(self, recorded: Decision) -> None:
        """It is in force."""
        self.standing = apply(self.standing, recorded)

    def is_full(self, recorded: Decision) -> bool:
        """The inputs reach back as far as it may have looked."""
        memory_ms = self._state.memory_ms if self._state else 0
        return recorded.at_unix_ms - max(self._inputs.cut_unix_ms, self._grown_unix_ms) > memory_ms

    def _folded(self, recorded: Decision, memory_ms: int) -> State:
        titles = {read_to.topic: title for read_to in recorded.inputs for title in TITLES if read_to.topic.endswith(title)}
        if self._state is None:
            prefix = next((name.removesuffix(title) for name, title in titles.items()), "")
            self._state = State(recorded.pool, memory_ms, topic_prefix=prefix)
        elif self._state.memory_ms < memory_ms:
            self._grown_unix_ms = recorded.at_unix_ms  # what it may look at from now on was forgotten
        self._state.memory_ms = memory_ms
        for read_to in recorded.inputs:
            for entry in self._inputs.until(titles[read_to.topic], read_to.next_offset):
                self._fold(self._state, entry)
        return self._state

    @staticmethod
    def _fold(state: State, entry: Entry) -> None:
        # As the control plane: a tombstone tells nothing, and what it rejects is no input.
        record: Any = entry.record
        if isinstance(record, entry.topic.records) and getattr(record, "pool", state.pool) == state.pool:
            with suppress(RejectedError):
                state.fold(entry.topic.title, record, offset=entry.offset, at=entry.at_unix_ms)


TITLES = tuple(topic.title for topic in INPUTS)


def _since(log: Source, decisions: Stretch) -> UnixMs | None:
    """How far back the folds of the first decision of a stretch can reach; None when it has none that can be read."""
    for entry in log.read([replace(decisions, end=decisions.first + 1)]):
        if isinstance(entry.record, Decision):
            try:
                memory_ms = Policy.from_json(entry.record.policy).planner.memory_ms
            except ValueError:
                return None
            return UnixMs(entry.record.at_unix_ms - MEMORIES * memory_ms)
    return None


def _same(made: Decision | None, recorded: Decision) -> bool:
    # Inputs are what it was made from, by construction; compaction of `channels` may have taken the record that its offset follows.
    # A version that knows more settings writes more of them.
    given = {"inputs": recorded.inputs, "lands_at": recorded.lands_at, "policy": recorded.policy}
    return made is not None and replace(made, **given) == recorded  # type: ignore[arg-type]
