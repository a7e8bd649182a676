"""A small recorded log, made by the control plane of the tests: two packagers, a channel that comes, is moved, and one that stays off."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from schemas.records import ChannelDemand, Level
from schemas.topics import DECISIONS, INPUTS
from schemas.units import UnixMs
from streams.replay.entries import Entry, to_line
from tests.builders_control import ControlPlane, a_demand, a_forecast, a_gop, a_heartbeat, a_period, a_report, some_forecasts

SECONDS = 150
DEATH_S = 95


class Recorder(ControlPlane):
    """A control plane whose decisions land in a journal."""

    def settle_and_keep(self, journal: list[Entry]) -> None:
        while (decision := self.decide()) is not None:
            landed = replace(decision, lands_at=len(journal))
            journal.append(
                Entry(topic=DECISIONS, partition=0, offset=len(journal), at_unix_ms=UnixMs(self.now + 2), key="0", record=landed)
            )


@cache
def a_log() -> tuple[Entry, ...]:
    """Two and a half minutes: three whole decisions, the death of a holder, one first request."""
    plane, journal = Recorder(), list[Entry]()
    plane.add("channels", a_period("news", idle_level=Level.PARTS), a_period("sport"))
    names = ["p1", "p2"]
    for second in range(SECONDS):
        if second == DEATH_S:
            names.remove(next(held.packager_id for held in plane.standing.assignments.values() if held.channel == "news"))
        for half in range(2):
            plane.add("heartbeats", *(a_heartbeat(name, number=2 * second + half) for name in names))
            plane.log.pass_ms(500)
            plane.settle_and_keep(journal)
        msn = second // 4
        plane.add("gops", *(a_gop(name, gop=second, msn=msn, first_gop=msn * 4, durable=plane.now) for name in ("news", "sport")))
        asked = [ChannelDemand(channel="sport", first_request=second == 30, requests=1, whole_sessions=1)] if second >= 30 else []
        joins = 3 if 40 < second < 80 else 0
        watched = ChannelDemand(channel="news", whole_sessions=5, requests=9, joins=joins)
        plane.add("demand", a_demand(channels=[watched, *asked], at=plane.now))
        plane.add("forecasts", some_forecasts(a_forecast("news", sessions=5.0, joins=float(joins)), at=plane.now))
        if second % 4 == 3:
            for held in plane.standing.assignments.values():
                tracks = held.tracks
                plane.add("reports", a_report(held.channel, msns=[msn], packager=held.packager_id, tracks=tracks, durable=plane.now))
        plane.settle_and_keep(journal)
    titles = {topic.title: topic for topic in INPUTS}
    inputs = [
        Entry(topic=titles[e.title], partition=0, offset=e.offset, at_unix_ms=e.at, key="", record=e.record) for e in plane.log.entries
    ]
    return (*inputs, *journal)


def written(entries: Iterable[Entry], path: Path) -> Path:
    """The entries as a file of lines."""
    path.write_text("".join(f"{to_line(entry)}\n" for entry in entries))
    return path
