"""An origin: folds facts with the real presentation, renders playlists as they change, tells demand."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from packager.manifest import hls
from packager.manifest.known import Reading
from packager.manifest.presentation import View
from packager.manifest.presentations import Presentations
from schemas.records import Action, ChannelDemand, Demand, Level, Packaging, Parts
from schemas.topics import CHANNELS, DEMAND, PARTS, REPORTS
from schemas.units import UnixMs
from streams.simulate.engine import Process
from streams.simulate.log import Entry, Reader
from streams.simulate.world import POOL, World

START_MS = 200
RENDER_MS = (300, 2_400)
DEMAND_MS = 1_000
QUOTE = '"'

Audience = Callable[[str, UnixMs], ChannelDemand | None]
"""Channel and time to what this origin sees of it in that second; None: nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """
    A media playlist as somebody may have seen it.

    Attributes:
        at: When.
        origin_id: Where.
        channel: Channel.
        track: Track.
        low_latency: With parts.
        run: Which run of the channel, as this origin has it: the offset of the stop before it, or -1.
        text: The playlist.
        missing: Objects it lists that the store did not have.
    """

    at: UnixMs
    origin_id: str
    channel: str
    track: str
    low_latency: bool
    run: int
    text: str
    missing: tuple[str, ...]


class Origin(Process):
    """
    One run of an origin.

    Attributes:
        presentations: Its fold.
    """

    def __init__(self, world: World, origin_id: str, *, audience: Audience, playlists: list[Rendered]) -> None:
        """
        Args:
            world: Where it runs.
            origin_id: Name.
            audience: Who watches here.
            playlists: Takes all that it renders.
        """
        super().__init__(world.engine)
        self.origin_id = origin_id
        self.presentations = Presentations()
        self._world = world
        self._skew_ms = world.random_skew_ms()
        self._audience = audience
        self._playlists = playlists
        self._runs: dict[str, int] = {}
        self._readers: list[Reader] = []
        self._seen: dict[str, View] = {}
        self.after(world.rng.randint(1, START_MS), self._start)

    def catch_up(self) -> None:
        """Folds at once all that is in the log, and renders it."""
        for reader in self._readers:
            reader.read_to_end()
        self._seen.clear()
        self.render()

    def _start(self) -> None:
        world = self._world
        media, restate_ms = world.policy.media, world.policy.planner.restate_ms
        since = self.engine.now - max(media.time_shift_ms + 3 * media.target_duration_ms, 2 * restate_ms)
        self.presentations = Presentations(Reading(from_unix_ms=UnixMs(since), began_unix_ms=self.engine.now))
        for topic in (CHANNELS, PARTS, REPORTS):
            entries = world.log.entries(topic, POOL)
            first = 0 if topic is CHANNELS else next((e.offset for e in entries if e.at >= since), len(entries))
            reader = Reader(world.log, self, topic, self._fold, rng=world.rng, delivery=world.delivery, partition=POOL, offset=first)
            reader.read_to_end()
            self._readers.append(reader)
        self._render_on()
        self.after(world.rng.randint(1, DEMAND_MS), self._tell_on)

    def _fold(self, entry: Entry) -> None:
        record = entry.record
        if isinstance(record, Packaging) and record.action is Action.STOP:
            self._runs[record.channel] = entry.offset
        if isinstance(record, Parts):
            self.presentations.add_parts(record)
        else:
            self.presentations.apply(record, UnixMs(entry.at))

    # ------------------------------------------------------------ playlists

    def _render_on(self) -> None:
        self.render()
        self.after(self._world.rng.randint(*RENDER_MS), self._render_on)

    def render(self) -> None:
        """Renders what has changed since the last time."""
        for channel, presentation in sorted(self.presentations.channels.items()):
            view = presentation.view() if presentation.periods else None
            if view is None or view is self._seen.get(channel):
                continue
            self._seen[channel] = view
            for track in view.period.tracks:
                for low_latency in (False, True) if view.level is Level.PARTS else (False,):
                    self._keep(view, track.track, low_latency)

    def _keep(self, view: View, track: str, low_latency: bool) -> None:
        text = hls.media(view, track, low_latency=low_latency)
        missing = tuple(name for name in _listed(text, view.channel) if name not in self._world.store.objects)
        self._playlists.append(
            Rendered(
                at=self.engine.now, origin_id=self.origin_id, channel=view.channel, track=track, low_latency=low_latency,
                run=self._runs.get(view.channel, -1), text=text, missing=missing,
            )
        )  # fmt: skip

    # ------------------------------------------------------------ demand

    def _tell_on(self) -> None:
        seen = [self._demand(channel) for channel in sorted(self.presentations.channels)]
        demand = Demand(origin_id=self.origin_id, at_unix_ms=UnixMs(self.engine.now + self._skew_ms), channels=tuple(filter(None, seen)))
        self._world.log.append(DEMAND, POOL, self.origin_id, demand, sender=self.origin_id)
        self.after(DEMAND_MS, self._tell_on)

    def _demand(self, channel: str) -> ChannelDemand | None:
        seen, presentation = self._audience(channel, self.engine.now), self.presentations.get(channel)
        is_shown = presentation is not None and presentation.view() is not None
        return seen if seen is None or is_shown else replace(seen, first_request=True)


def _listed(text: str, channel: str) -> list[str]:
    """Objects that must be there at once: segments that are no gap, and parts."""
    names, is_gap = [], False
    for line in text.splitlines():
        if line == "#EXT-X-GAP":
            is_gap = True
        elif line.startswith("#EXT-X-PART:"):
            names.append(f"{channel}/{line.split(QUOTE)[1].removeprefix('../')}")
        elif line and not line.startswith("#"):
            if not is_gap:
                names.append(f"{channel}/{line.removeprefix('../')}")
            is_gap = False
    return names
