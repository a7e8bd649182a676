"""The smallest whole packager on the public API: assignments in, chunks by offset, publish, announce, report."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from packager.boxes import check_chunk
from packager.client import Assigned, Client, Media, Withdrawn
from packager.cuts import CutFailed, CutPart, CutPicture, CutReject
from packager.publisher import Publisher, failure_of, part_of, report_of
from packager.scope import Scope
from packager.slicing import PeriodUnknownError, SliceCutter
from packager.store import DirectoryStore
from packager.thumbnails import jpeg
from schemas.records import Assignment, Fault
from schemas.settings import Settings
from schemas.units import Ms


@dataclass
class Work:
    """A slice in hand, and the offset from which on it is read again."""

    assignment: Assignment
    cutter: SliceCutter
    again: float = inf


def serve(settings: Settings, packager_id: str, *, must_stop: Callable[[], bool]) -> None:
    """Package what pool 0 assigns to this name until told to stop."""
    publisher = Publisher(DirectoryStore(settings.store), retry_ms=Ms(1_000))
    work: dict[str, Work] = {}
    with Client(settings, pool=0, packager_id=packager_id) as client:  # registers with its first heartbeat, beats while it is polled
        while not must_stop():
            for event in client.poll(0.01):
                match event:
                    case Assigned(key=key, assignment=given):
                        work[key] = Work(given, SliceCutter(Scope.of(given), check=check_chunk))
                        client.follow(key, given)
                    case Withdrawn(key=key):
                        client.leave(key)
                    case Media():
                        _package(client, publisher, work, event)


def _package(client: Client, publisher: Publisher, work: dict[str, Work], event: Media) -> None:
    arrival = event.arrival
    for key in arrival.slices:
        held = work[key]
        given, known = held.assignment, client.periods.get(held.assignment.channel, {})
        if arrival.offset > held.again:
            continue  # what was read together with it: it comes again, in order
        try:
            cuts = held.cutter.feed(event.record, offset=arrival.offset, durable_unix_ms=arrival.durable_unix_ms, periods=known)
        except PeriodUnknownError:
            held.again = arrival.offset  # its configuration is on the way: read on from here again
            client.follow(key, given, offset=arrival.offset)
            continue
        held.again = inf
        for cut in cuts:
            if isinstance(cut, CutReject):
                client.reject(arrival, cut.error)
            elif isinstance(cut, CutFailed):
                client.report((failure_of(given, cut, Fault.INPUT, cut.error),))
            else:
                pieces = (jpeg(cut),) if isinstance(cut, CutPicture) else cut.pieces
                published = publisher.publish(cut.name, pieces)  # create-if-absent: equal bytes are a success
                if isinstance(cut, CutPart):
                    client.announce((part_of(cut, published),))
                else:
                    client.report((report_of(given, cut, published),))
