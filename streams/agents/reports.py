"""Folds `reports`: how far each slice is, and what failed."""

from collections.abc import Callable
from typing import Any

import faust
from faust.types import AgentT

from schemas import topics
from schemas.records import Outcome, Packaging, Reports, Void
from streams.core.rows import ReportRow
from streams.pools import Pools
from streams.shell import Arrival, Shell


def urges(record: Reports | Packaging | Void, row: ReportRow | None) -> bool:
    """Whether a record calls for a decision at once: a failure does."""
    del row
    return isinstance(record, Reports) and any(segment.outcome is Outcome.FAILED for segment in record.segments)


def register(app: faust.App, *, shell: Shell, pools: Pools, learn: Callable[[Arrival], None]) -> AgentT[Any]:
    """The agent that folds `reports` and shows each new record to the models."""

    def fold(arrival: Arrival) -> None:
        if pools.fold(arrival, urges=urges):
            learn(arrival)

    return shell.attend(app, topics.REPORTS, fold)
