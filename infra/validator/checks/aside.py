"""Thumbnails and captions (rules 41 and 42): what accompanies the media must be what is announced, and lie where the media lies."""

from collections.abc import Iterator
from fractions import Fraction

from infra.validator.aside import Text
from infra.validator.evidence import Evidence
from infra.validator.findings import Finding, Limits
from infra.validator.mpd import Period, Representation
from infra.validator.playlist import Segment, attributes

JPEG, VTT = "image/jpeg", "text/vtt"
MS = 0.001
# A cue is written to the millisecond, and may begin with the frame that its segment begins with.
CUE_S = 0.05


def _size(resolution: str, layout: str) -> tuple[int, int] | None:
    """Of a picture of so many tiles."""
    numbers = [*resolution.split("x"), *layout.split("x")]
    if len(numbers) != 4 or not all(number.isdigit() for number in numbers):
        return None
    width, height, columns, rows = map(int, numbers)
    return width * columns, height * rows


def _picture(evidence: Evidence, url: str, size: tuple[int, int]) -> Iterator[Finding]:
    for answer in evidence.answers.get(url, ())[:1]:
        exchange = answer.exchange
        if exchange.status != 200:
            yield Finding(rule=41, url=url, what="a listed picture is not there", expected="200", seen=str(exchange.status))
            continue
        kind = exchange.headers.get("content-type", "").partition(";")[0]
        if kind != JPEG:
            yield Finding(rule=41, url=url, what="Content-Type of a picture", expected=JPEG, seen=kind or "none")
        picture = evidence.pictures.get(url)
        if picture is None or picture.problem:
            yield Finding(
                rule=41, url=url, what="a picture that cannot be shown", expected="a JPEG", seen=picture.problem if picture else "none"
            )
        elif (picture.width, picture.height) != size:
            seen = f"{picture.width}x{picture.height}"
            yield Finding(rule=41, url=url, what="size of a picture", expected=f"{size[0]}x{size[1]}", seen=seen)


def _image_playlists(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for looks in evidence.multivariants.values():
        for look in looks:
            for image in look.content.images:
                if image.url in evidence.playlists:
                    yield Finding(rule=41, url=image.url, what="an image playlist", expected="EXT-X-IMAGES-ONLY", seen="none")
                peers = evidence.segments(look.content.playlists[0]) if look.content.playlists else {}
                yield from _images(evidence, image.url, peers, image.attributes.get("RESOLUTION", ""))


def _images(evidence: Evidence, url: str, peers: dict[int, Segment], resolution: str) -> Iterator[Finding]:
    known: dict[int, Segment] = {}
    for look in evidence.image_playlists.get(url, ()):
        for problem in look.content.problems:
            yield Finding(rule=41, url=url, what="an image playlist that cannot be read whole", expected="a playlist", seen=problem)
        for segment in look.content.segments:
            first = known.setdefault(segment.msn, segment)
            if (first.url, first.duration_s) != (segment.url, segment.duration_s):
                yield Finding(rule=41, url=url, what=f"picture {segment.msn} changed", expected=first.url, seen=segment.url)
    for segment in known.values():
        yield from _beside(url, segment, peers.get(segment.msn))
        if segment.is_gap:
            continue
        tile = attributes(segment.tile or "")
        size = _size(tile.get("RESOLUTION", ""), tile.get("LAYOUT", ""))
        if size is None:
            yield Finding(rule=41, url=url, what="EXT-X-TILES", expected="RESOLUTION and LAYOUT", seen=segment.tile or "none")
            continue
        if tile["RESOLUTION"] != resolution:
            yield Finding(rule=41, url=url, what="RESOLUTION of tiles", expected=resolution, seen=tile["RESOLUTION"])
        yield from _picture(evidence, segment.url, size)


def _beside(url: str, segment: Segment, peer: Segment | None) -> Iterator[Finding]:
    """A picture covers exactly the segment of its number."""
    if peer is None:
        return
    if abs(segment.duration_s - peer.duration_s) > MS:
        expected, seen = f"{peer.duration_s:g}", f"{segment.duration_s:g}"
        yield Finding(rule=41, url=url, what=f"EXTINF of picture {segment.msn}", expected=expected, seen=seen)
    if segment.start_ms is not None and peer.start_ms is not None and abs(segment.start_ms - peer.start_ms) > 1:
        expected, seen = f"{peer.start_ms:.0f}", f"{segment.start_ms:.0f}"
        yield Finding(rule=41, url=url, what=f"time of picture {segment.msn}", expected=expected, seen=seen)


def _image_sets(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for url, looks in evidence.mpds.items():
        for look in looks:
            for period in look.content.periods:
                for images in period.pictures:
                    yield from _image_set(evidence, url, period, images)


def _image_set(evidence: Evidence, url: str, period: Period, images: Representation) -> Iterator[Finding]:
    told = images.attributes
    size = _size(f"{told.get('width', '')}x{told.get('height', '')}", "1x1")
    if size is None or _size("1x1", told.get("tiles", "")) is None:
        yield Finding(
            rule=41, url=url, what=f"{images.name}: tiles", expected="width, height and columns x rows", seen=str(told.get("tiles"))
        )
        return
    starts = {Fraction(entry.time, r.timescale) for r in period.representations for entry in r.entries}
    for entry in images.entries:
        if Fraction(entry.time, images.timescale) not in starts:
            yield Finding(
                rule=41, url=url, what=f"{images.name}: a picture of no segment", expected="S@t of the media", seen=str(entry.time)
            )
        yield from _picture(evidence, entry.url, size)


def _captions(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for looks in evidence.multivariants.values():
        found = looks[-1].content
        texts = [r["URI"] for r in found.renditions if r.get("TYPE") == "SUBTITLES" and "URI" in r]
        peers = evidence.segments(found.variants[0].url) if found.variants else {}
        for url in texts:
            for msn, segment in evidence.segments(url).items():
                if not segment.is_gap:
                    peer = peers.get(msn)
                    yield from _caption(evidence, segment.url, evidence.span_s(peer.url) if peer else None)


def _caption(evidence: Evidence, url: str, span_s: tuple[float, float] | None) -> Iterator[Finding]:
    for answer in [one for one in evidence.answers.get(url, ()) if one.exchange.status == 200][:1]:
        kind = answer.exchange.headers.get("content-type", "").partition(";")[0]
        if kind != VTT:
            yield Finding(rule=42, url=url, what="Content-Type of a text", expected=VTT, seen=kind or "none")
        text = evidence.texts.get(url)
        if text is None:
            yield Finding(rule=42, url=url, what="a text that cannot be read", expected="WEBVTT", seen="none")
            continue
        yield from _cues(url, text, span_s)


def _cues(url: str, text: Text, span_s: tuple[float, float] | None) -> Iterator[Finding]:
    for problem in text.problems:
        yield Finding(rule=42, url=url, what="a text that cannot be read", expected="WebVTT", seen=problem)
    if not text.is_mapped:
        yield Finding(rule=42, url=url, what="X-TIMESTAMP-MAP", expected="where the text lies", seen="none")
    for start_s, end_s in text.cues:
        if end_s <= start_s:
            yield Finding(rule=42, url=url, what="a cue that is never shown", expected=f"to end after {start_s:.3f}", seen=f"{end_s:.3f}")
        elif span_s is not None and not (start_s < span_s[1] + CUE_S and end_s > span_s[0] - CUE_S):
            expected = f"{span_s[0]:.3f} to {span_s[1]:.3f}"
            yield Finding(rule=42, url=url, what="a cue beyond its segment", expected=expected, seen=f"{start_s:.3f} to {end_s:.3f}")


CHECKS = (_image_playlists, _image_sets, _captions)
