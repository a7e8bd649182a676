"""Folds `channels`: what is live, and how it is cut."""

from typing import Any

import faust
from faust.types import AgentT

from schemas import topics
from schemas.records import Period, PeriodEnd
from streams.core.rows import ChannelRow
from streams.pools import Pools
from streams.shell import Arrival, Shell


def urges(record: Period | PeriodEnd, row: ChannelRow | None) -> bool:
    """Whether a record calls for a decision at once: every period that begins or ends does."""
    del record, row
    return True


def register(app: faust.App, *, shell: Shell, pools: Pools) -> AgentT[Any]:
    """The agent that folds `channels`."""

    def fold(arrival: Arrival) -> None:
        pools.fold(arrival, urges=urges)

    return shell.attend(app, topics.CHANNELS, fold)
