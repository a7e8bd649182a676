"""Folds `demand`: who watches what."""

from collections.abc import Callable
from typing import Any

import faust
from faust.types import AgentT

from schemas import topics
from schemas.records import Demand
from streams.core.rows import DemandRow
from streams.pools import Pools
from streams.shell import Arrival, Shell


def urges(demand: Demand, row: DemandRow | None) -> bool:
    """Whether a record calls for a decision at once: somebody waits for a channel that is off."""
    del row
    return any(channel.first_request for channel in demand.channels)


def register(app: faust.App, *, shell: Shell, pools: Pools, learn: Callable[[Arrival], None]) -> AgentT[Any]:
    """The agent that folds `demand` and shows each new record to the models."""

    def fold(arrival: Arrival) -> None:
        if pools.fold(arrival, urges=urges):
            learn(arrival)

    return shell.attend(app, topics.DEMAND, fold)
