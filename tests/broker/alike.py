"""Two packagers with a store each over one long log, in slices cut differently, faster than real time: what each of them published."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.clip import ensure_clip
from infra.kafka import LocalBroker
from packager.store import DirectoryStore
from schemas.records import Heartbeat, MarkKind, Period
from schemas.settings import MediaSettings, StoreSettings
from schemas.units import Msn
from streams.ingest.ladder import Rendition
from streams.ingest.recording import Recording, load_recording, make_recording
from tests.broker.packaging import ROOT, Hall, until
from tests.builders import make_start
from tests.recorded import chunks_of, period_of

# Lengths as they change with demand; every one at every place of the recording.
LENGTHS = (4, 1, 2, 1, 3)
WHOLE, DEALT = "whole", "dealt"
TURNS = 2
# Small, so that an hour of it is.
RENDITION = Rendition(track="v0", width=160, height=90, bitrate_bps=100_000)
RECORDING_S = 8
CACHE = ROOT / ".cache"


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """
    What a packager published.

    Attributes:
        objects: SHA-256 of each object by its name.
        size: Bytes of all.
        seconds: From its first assignment to its last segment.
    """

    objects: dict[str, str]
    size: int
    seconds: float

    @property
    def digest(self) -> str:
        """Of all names and bytes."""
        return hashlib.sha256("\n".join(f"{name} {found}" for name, found in sorted(self.objects.items())).encode()).hexdigest()


def recording() -> Recording:
    """A few seconds of picture and sound, made the first time."""
    folder = CACHE / "recording" / f"alike-{RENDITION.height}-{RECORDING_S}"
    make_recording(str(ensure_clip(CACHE)), folder, RECORDING_S, ladder=(RENDITION,))
    return load_recording(folder)


def segments_of(seconds: int) -> tuple[int, ...]:
    """
    Segments that fill a time, in seconds.

    >>> segments_of(11), segments_of(13)
    ((4, 1, 2, 1, 3), (4, 1, 2, 1, 3, 2))
    """
    found: list[int] = []
    while (rest := seconds - sum(found)) > 0:
        found.append(min(rest, LENGTHS[len(found) % len(LENGTHS)]))
    return tuple(found)


def packaged(kafka: LocalBroker, folder: Path, seconds: int, *, wait_s: float) -> dict[str, Output]:
    """
    What both made of the recording repeated for so long: one of the whole channel in one slice, one of each track by itself in two turns.

    Raises:
        AssertionError: One has not finished within ``wait_s``.
    """
    hall = Hall(kafka, folder, media=MediaSettings(), catch_up_share=1.0)
    try:
        reel, segments = recording(), segments_of(seconds)
        period = period_of(reel)
        _fill(hall, period, reel, segments)
        stores = {name: folder / f"store-{name}" for name in (WHOLE, DEALT)}
        for name, directory in stores.items():
            hall.start(name, store=directory)
        tracks = tuple(track.track for track in period.tracks)
        holders = {name: hall.registered(name) for name in stores}
        began = time.monotonic()
        hall.assign(period, holders[WHOLE])
        for number, track in enumerate(tracks):
            for turn in range(TURNS):
                _deal(hall, period, holders[DEALT], f"{number}of{len(tracks)}", track, turn)
        done: dict[str, float] = {}

        def both() -> bool:
            beats = {name: hall.beats(name)[-1].slices for name in stores if name not in done}
            for name, slices in beats.items():
                if len(slices) == (1 if name == WHOLE else TURNS * len(tracks)) and min(now.next_msn for now in slices) >= len(segments):
                    done[name] = time.monotonic() - began
            return len(done) == len(stores)

        until(both, what=f"end of both, only {done}", timeout_s=wait_s)
        assert hall.rejects() == []
        return {name: _output(directory, done[name]) for name, directory in stores.items()}
    finally:
        hall.close()


def _fill(hall: Hall, period: Period, reel: Recording, segments: Sequence[int]) -> None:
    hall.configure(period)
    parts = sum(segments) * len(period.grid)
    end = make_start(period, kind=MarkKind.CHANNEL_END, next_msn=Msn(len(segments)), parts_reached=parts)
    hall.fill(period, [make_start(period)])
    hall.fill(period, chunks_of(reel, period, segments))
    hall.fill(period, [end])


def _deal(hall: Hall, period: Period, holder: Heartbeat, group: str, track: str, turn: int) -> None:
    hall.assign(period, holder, slice_id=f"{period.channel}/{group}/{turn}of{TURNS}", tracks=(track,), turn=turn, turns=TURNS)


def _output(directory: Path, seconds: float) -> Output:
    store, objects, size = DirectoryStore(StoreSettings(directory=directory)), {}, 0
    for name in store.list():
        data = store.get(name)
        objects[name], size = hashlib.sha256(data).hexdigest(), size + len(data)
    return Output(objects=objects, size=size, seconds=seconds)
