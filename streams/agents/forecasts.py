"""Folds `forecasts`: what the models say, read back from the log so that a replay sees the same."""

from typing import Any

import faust
from faust.types import AgentT

from schemas import topics
from schemas.records import Forecasts
from streams.core.rows import ForecastRow
from streams.pools import Pools
from streams.shell import Arrival, Shell


def urges(forecasts: Forecasts, row: ForecastRow | None) -> bool:
    """Whether a record calls for a decision at once: a forecast waits for the next tick."""
    del forecasts, row
    return False


def register(app: faust.App, *, shell: Shell, pools: Pools) -> AgentT[Any]:
    """The agent that folds `forecasts`."""

    def fold(arrival: Arrival) -> None:
        pools.fold(arrival, urges=urges)

    return shell.attend(app, topics.FORECASTS, fold)
