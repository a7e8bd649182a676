"""Folds `gops`: the live edge of each channel and where its segments can be read from."""

from typing import Any

import faust
from faust.types import AgentT

from schemas import topics
from schemas.records import Gop
from streams.core.rows import GopsRow
from streams.pools import Pools
from streams.shell import Arrival, Shell


def urges(gop: Gop, row: GopsRow | None) -> bool:
    """Whether a GOP calls for a decision at once: the first of a channel or of a period can be packaged from now on."""
    return row is None or not row.segments or row.segments[-1].period != gop.period


def register(app: faust.App, *, shell: Shell, pools: Pools) -> AgentT[Any]:
    """The agent that folds `gops`."""

    def fold(arrival: Arrival) -> None:
        pools.fold(arrival, urges=urges)

    return shell.attend(app, topics.GOPS, fold)
