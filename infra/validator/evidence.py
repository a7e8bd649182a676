"""Exchanges taken apart as they come: bodies are read once and let go, so that a long watch keeps what was said and not the bytes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Generic, NamedTuple, TypeVar

from infra.validator import aside, fragments, mpd, playlist
from infra.validator.boxes import BoxError
from infra.validator.init import Init, read_init
from infra.validator.recording import Exchange

T = TypeVar("T")
PLAYLIST_START = b"#EXTM3U"
IMAGES_ONLY = "#EXT-X-IMAGES-ONLY"


class Answer(NamedTuple):
    """An exchange without its body."""

    exchange: Exchange
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Look(Generic[T]):
    """A manifest as it was at a time; ``is_delta``: it was put together of a delta update and what was known before."""

    answer: Exchange
    content: T
    digest: bytes
    is_delta: bool = False
    skipped: int = 0
    skip_tags: int = 0


class Run(NamedTuple):
    """Objects of one rendition that follow each other without a break: who names them, and their URLs in order."""

    name: str
    urls: list[str]


class Evidence:
    """What is known of an origin."""

    def __init__(self, exchanges: Iterable[Exchange] = ()) -> None:
        """
        Args:
            exchanges: In the order in which they were answered.
        """
        self.multivariants: dict[str, list[Look[playlist.Multivariant]]] = defaultdict(list)
        self.playlists: dict[str, list[Look[playlist.Media]]] = defaultdict(list)
        self.image_playlists: dict[str, list[Look[playlist.Media]]] = defaultdict(list)
        self.mpds: dict[str, list[Look[mpd.Mpd]]] = defaultdict(list)
        self.pictures: dict[str, aside.Picture] = {}
        self.texts: dict[str, aside.Text] = {}
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.media: dict[str, fragments.Media] = {}
        self.inits: dict[str, Init] = {}
        self.broken: dict[str, str] = {}
        self.init_of: dict[str, str] = {}
        self.lone_deltas: list[Look[playlist.Media]] = []
        self._known: dict[str, dict[int, playlist.Segment]] = defaultdict(dict)
        self._waiting: dict[str, bytes] = {}
        self._same: dict[playlist.Segment, playlist.Segment] = {}
        for exchange in exchanges:
            self.take(exchange)

    def take(self, exchange: Exchange) -> None:
        """Learn from one exchange."""
        light = replace(exchange, body=b"")
        digest = sha256(exchange.body).digest()
        self.answers[exchange.place].append(Answer(light, len(exchange.body), digest))
        if exchange.status != 200 or exchange.method != "GET" or not exchange.body:
            return
        if exchange.body.startswith(PLAYLIST_START):
            self._playlist(light, exchange.body, digest)
        elif b"<MPD" in exchange.body[:2_000]:
            self._mpd(light, exchange.body, digest)
        elif exchange.body.startswith(aside.JPEG_START):
            self.pictures.setdefault(exchange.place, aside.read_picture(exchange.body))
        elif exchange.body.startswith(aside.TEXT_START):
            self.texts.setdefault(exchange.place, aside.read_text(exchange.body))
        elif exchange.place in self.init_of.values():
            self._init(exchange.place, exchange.body)
        elif exchange.place in self.init_of and exchange.place not in self.media:
            self._media(exchange.place, exchange.body)

    @property
    def groups(self) -> list[list[str]]:
        """Media playlists that are renditions of one presentation; each that no multivariant playlist names is alone."""
        found = [[url for url in looks[-1].content.playlists if url in self.playlists] for looks in self.multivariants.values()]
        grouped = {url for group in found for url in group}
        return [*found, *([url] for url in self.playlists if url not in grouped)]

    def timescale(self, url: str) -> int:
        """Ticks per second of an object's track; 0 if its init segment is not known."""
        init = self.inits.get(self.init_of.get(url, ""))
        return init.timescale if init else 0

    def handler(self, url: str) -> bytes:
        """What an object's track is: vide, soun; empty if not known."""
        init = self.inits.get(self.init_of.get(url, ""))
        return init.handler if init else b""

    def span_s(self, url: str) -> tuple[float, float] | None:
        """First and last instant of an object on the media timeline, if it was read."""
        media, timescale = self.media.get(url), self.timescale(url)
        if media is None or not media.chunks or not timescale:
            return None
        return media.start / timescale, (media.start + media.duration) / timescale

    def segments(self, url: str) -> dict[int, playlist.Segment]:
        """Every segment that a playlist ever listed, as it was listed first."""
        return self._known[url]

    def runs(self) -> Iterator[Run]:
        """All stretches of media without a break, of playlists and of MPDs."""
        for url in self.playlists:
            by_number: dict[int, list[str]] = defaultdict(list)
            last: tuple[int, int] | None = None
            stretch = 0
            for msn, segment in sorted(self.segments(url).items()):
                # A gap, or numbers that were never seen, break what can be compared.
                if last is not None and (msn != last[0] + 1 or segment.discontinuity != last[1] or segment.is_gap):
                    stretch += 1
                if not segment.is_gap:
                    by_number[stretch].append(segment.url)
                last = (msn, segment.discontinuity)
            yield from (Run(url, urls) for urls in by_number.values())
        for url, looks in self.mpds.items():
            entries: dict[tuple[str, str, str], dict[int, mpd.Entry]] = defaultdict(dict)
            for look in looks:
                for period in look.content.periods:
                    for r in period.representations:
                        for entry in r.entries:
                            entries[r.key].setdefault(entry.time, entry)
            for key, known in entries.items():
                yield Run(f"{url} {'/'.join(key)}", [entry.url for _, entry in sorted(known.items())])

    def _playlist(self, exchange: Exchange, body: bytes, digest: bytes) -> None:
        text = body.decode("utf-8", "replace")
        place = exchange.place
        if playlist.is_multivariant(text):
            self.multivariants[place].append(Look(exchange, playlist.read_multivariant(text, place), digest))
            return
        looks = self.image_playlists[place] if IMAGES_ONLY in text else self.playlists[place]
        if looks and looks[-1].digest == digest:
            looks.append(replace(looks[-1], answer=exchange))
            return
        found = playlist.read_media(text, place)
        found.segments = [self._same.setdefault(s, s) for s in found.segments]
        if IMAGES_ONLY in text:
            looks.append(Look(exchange, found, digest))
            return
        look = Look(exchange, found, digest, is_delta=bool(found.skips), skipped=found.skipped, skip_tags=len(found.skips))
        if found.skips and not self._merge(found):
            self.lone_deltas.append(look)
            return
        looks.append(look)
        for segment in found.segments:
            self._known[place].setdefault(segment.msn, segment)
            self._name(segment.url, segment.map_url)
            for part in segment.parts:
                self._name(part.url, segment.map_url)
        for part in found.open_parts:
            self._name(part.url, found.open_map_url)
        for hint in found.hints:
            if hint.get("TYPE") == "PART":
                self._name(hint["URI"], found.open_map_url)

    def _merge(self, delta: playlist.Media) -> bool:
        """Put what a delta update skips back; False if that is not known."""
        known = self._known[delta.url]
        skipped = [known.get(msn) for msn in range(delta.first_msn, delta.first_msn + delta.skipped)]
        whole = [segment for segment in skipped if segment is not None]
        if len(whole) < len(skipped):
            return False
        last = whole[-1] if whole else None
        if last is not None:
            breaks = last.discontinuity - delta.discontinuity_sequence
            delta.segments = [replace(s, discontinuity=s.discontinuity + breaks, map_url=s.map_url or last.map_url) for s in delta.segments]
            delta.open_discontinuity += breaks
            delta.open_map_url = delta.open_map_url or last.map_url
        # Parts of what is skipped are neither listed nor denied.
        delta.segments = [*(replace(s, parts=()) for s in whole), *delta.segments]
        delta.skips = []
        return True

    def _mpd(self, exchange: Exchange, body: bytes, digest: bytes) -> None:
        looks = self.mpds[exchange.place]
        if looks and looks[-1].digest == digest:
            looks.append(replace(looks[-1], answer=exchange))
            return
        found = mpd.read_mpd(body, exchange.place)
        looks.append(Look(exchange, found, digest))
        for period in found.periods:
            for r in period.representations:
                for entry in r.entries:
                    self._name(entry.url, r.init_url)

    def _name(self, url: str, init_url: str | None) -> None:
        if init_url is not None:
            self.init_of.setdefault(url, init_url)

    def _init(self, place: str, body: bytes) -> None:
        if place in self.inits:
            return
        try:
            self.inits[place] = read_init(body)
        except BoxError as error:
            self.broken[place] = str(error)
            return
        for url in [url for url in self._waiting if self.init_of[url] == place]:
            self._media(url, self._waiting.pop(url))

    def _media(self, place: str, body: bytes) -> None:
        init = self.inits.get(self.init_of[place])
        if init is None and self.init_of[place] not in self.broken:
            self._waiting[place] = body
            return
        try:
            self.media[place] = fragments.read_media(body, init)
        except BoxError as error:
            self.broken[place] = str(error)
