"""What the readers of `assignments` obey, held against what decisions put in force."""

from dataclasses import dataclass, field, replace
from typing import Any

from schemas import topics
from schemas.records import Assignment, Decision
from streams.core.standing import Standing, apply, counts

from .control_plane import CODEC, Installation


@dataclass
class Obeyed:
    """
    The topic `assignments` of a pool as somebody sees it who reads along from its beginning.

    Attributes:
        held: Assignments in force for them at its end, by ``slice/copy``.
        passed_over: Records with a lower number than one seen before for the key.
        wrong: Records that were obeyed though the decision they name says otherwise.
        newest: The newest record of each key, which is all that compaction leaves; None for a tombstone.
    """

    held: dict[str, Assignment] = field(default_factory=dict)
    passed_over: int = 0
    wrong: list[str] = field(default_factory=list)
    newest: dict[str, Assignment | None] = field(default_factory=dict)


def chain(installation: Installation, pool: int) -> list[Decision]:
    """Decisions of a pool that count, in order."""
    messages = installation.read(topics.DECISIONS, pool=pool)
    decided = [(message.offset(), CODEC.decode(message.value())) for message in messages]
    return [decision for offset, decision in decided if counts(decision, offset=offset)]


def standings(decisions: list[Decision]) -> dict[int, Standing]:
    """What was in force after each decision, by its number; raises ValueError when one does not follow the one before."""
    now, after = Standing.empty(decisions[0].pool), dict[int, Standing]()
    for decision in decisions:
        now = after[decision.number] = apply(now, decision)
    return after


def obey(installation: Installation, pool: int = 0) -> Obeyed:
    """What is obeyed of the records of a pool until now."""
    seen, numbers = Obeyed(), dict[str, int]()
    messages: list[Any] = installation.read(topics.ASSIGNMENTS, pool=pool)
    after = standings(chain(installation, pool))
    for message in messages:
        key = message.key().decode()
        record = None if message.value() is None else CODEC.decode(message.value())
        seen.newest[key] = record
        number = topics.decision_of(message.headers()) if record is None else record.decision
        if number is not None and number < numbers.get(key, 0):
            seen.passed_over += 1
            continue
        numbers[key] = number or numbers.get(key, 0)
        in_force = after[numbers[key]].assignments.get(key)
        if (record and replace(record, decision=0)) != (in_force and replace(in_force, decision=0)):
            seen.wrong.append(f"{key} by decision {number} is {record}, in force is {in_force}")
        seen.held.pop(key, None)
        if record is not None:
            seen.held[key] = record
    return seen
