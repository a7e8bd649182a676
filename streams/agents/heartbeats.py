"""Folds `heartbeats`: who can carry what, and who lives."""

from typing import Any

import faust
from faust.types import AgentT

from schemas import topics
from schemas.records import Heartbeat
from streams.core.rows import HeartbeatRow
from streams.pools import Pools
from streams.shell import Arrival, Shell


def urges(heartbeat: Heartbeat, row: HeartbeatRow | None) -> bool:
    """Whether a heartbeat calls for a decision at once: a new life, or a change of what the packager says of itself."""
    before = next((p.heartbeat for p in row.pulses if p.heartbeat.life == heartbeat.life), None) if row else None
    return before is None or before.state is not heartbeat.state


def register(app: faust.App, *, shell: Shell, pools: Pools) -> AgentT[Any]:
    """The agent that folds `heartbeats`."""

    def fold(arrival: Arrival) -> None:
        pools.fold(arrival, urges=urges)

    return shell.attend(app, topics.HEARTBEATS, fold)
