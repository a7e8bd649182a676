"""What the bytes of objects must hold, alone and beside what is said of them (rules 2, 11, 12, 20, 33 to 38)."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from infra.validator.checks.renditions import frame_s
from infra.validator.evidence import Evidence
from infra.validator.findings import Finding, Limits
from infra.validator.fragments import Chunk, Media
from infra.validator.playlist import Part, Segment

BRANDS = {b"cmfc", b"cmf2", b"cmfs", b"cmff"}
TOLERANCE_S = 0.0011


def _finding(url: str, rule: int, what: str, expected: object, seen: object) -> Finding:
    return Finding(rule=rule, url=url, what=what, expected=str(expected), seen=str(seen))


def _inits(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for url, init in evidence.inits.items():
        if len(init.track_ids) != 1:
            yield _finding(url, 34, "tracks of an init segment", 1, len(init.track_ids))
        if not BRANDS & set(init.brands):
            yield _finding(url, 34, "brands", "cmfc or another of CMAF", b" ".join(init.brands).decode("latin-1"))
        if not init.timescale:
            yield _finding(url, 34, "timescale", "> 0", 0)
    for url, problem in evidence.broken.items():
        yield _finding(url, 34, "bytes that are no boxes", "whole boxes", problem)


def _boxes(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for url, media in evidence.media.items():
        for rule, problem in [*media.problems, *(p for chunk in media.chunks for p in chunk.problems)]:
            yield _finding(url, rule, "boxes that contradict each other", "ISO/IEC 14496-12, 23000-19", problem)
        for chunk in media.chunks:
            if not chunk.is_relative:
                yield _finding(url, 34, "default-base-is-moof", "set", f"not set at {chunk.start}")
            if not chunk.is_long:
                yield _finding(url, 35, "tfdt", "of 64 bits", f"32 bits at {chunk.start}")
        for before, after in pairwise(media.chunks):
            yield from _follows(url, before, after)
        yield from _events(url, media, evidence.timescale(url))


def _follows(url: str, before: Chunk, after: Chunk) -> Iterator[Finding]:
    if after.start != before.end:
        yield _finding(url, 35, "tfdt against the durations before it", before.end, after.start)
    if after.sequence <= before.sequence and (before.sequence - after.sequence) < 1 << 31:
        yield _finding(url, 35, "mfhd sequence number", f"> {before.sequence}", after.sequence)


def _events(url: str, media: Media, timescale: int) -> Iterator[Finding]:
    for event in media.events:
        # Version 0 counts from the segment's start and cannot lie before it.
        if event.version and event.timescale and timescale and event.time / event.timescale < media.start / timescale - TOLERANCE_S:
            start_s = media.start / timescale
            yield _finding(url, 33, "emsg before its segment", f">= {start_s:.3f} s", f"{event.time / event.timescale:.3f} s")


def _continuous(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rule 35 from one segment to the next, in every rendition that was watched."""
    for run in evidence.runs():
        read = [(url, evidence.media[url]) if url in evidence.media else None for url in run.urls]
        for left, right in pairwise(read):
            if left is not None and right is not None and left[1].chunks and right[1].chunks:
                yield from _follows(right[0], left[1].chunks[-1], right[1].chunks[0])


def _keys(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rules 12 and 36: a segment starts with a random access point, and flags agree with bytes."""
    segments = {url for run in evidence.runs() for url in run.urls}
    for url, media in evidence.media.items():
        if url in segments and media.starts_with_key is False:
            yield _finding(url, 12, "first sample of a segment", "an IDR or another random access point", "none")
        for chunk in media.chunks:
            for index, (says, is_key) in enumerate(zip(chunk.flags_sync, chunk.is_key, strict=True)):
                if is_key is not None and says != is_key:
                    yield _finding(
                        url,
                        36,
                        "sync flag of a sample against its NAL units",
                        "sync" if is_key else "not sync",
                        f"{'sync' if says else 'not sync'} at sample {index} of the chunk at {chunk.start}",
                    )
                    break


def _against_playlists(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for url in evidence.playlists:
        for segment in evidence.segments(url).values():
            media, timescale = evidence.media.get(segment.url), evidence.timescale(segment.url)
            if media is not None and timescale and abs(media.duration / timescale - segment.duration_s) > TOLERANCE_S:
                yield _finding(segment.url, 2, "EXTINF against the media", f"{media.duration / timescale:.6f}", segment.duration_s)
        for msn, parts in _longest_parts(evidence, url).items():
            for index, part in enumerate(parts):
                yield from _part(evidence, part, index)
            known = evidence.segments(url).get(msn)
            if known is not None:
                yield from _concatenated(evidence, known, parts)


def _longest_parts(evidence: Evidence, url: str) -> dict[int, tuple[Part, ...]]:
    found: dict[int, tuple[Part, ...]] = {}
    for look in evidence.playlists[url]:
        lists = [(s.msn, s.parts) for s in look.content.segments if s.parts] + [(look.content.last_msn + 1, tuple(look.content.open_parts))]
        for msn, parts in lists:
            if len(parts) > len(found.get(msn, ())):
                found[msn] = parts
    return found


def _part(evidence: Evidence, part: Part, index: int) -> Iterator[Finding]:
    media, timescale = evidence.media.get(part.url), evidence.timescale(part.url)
    if media is None or not timescale or part.is_gap:
        return
    if abs(media.duration / timescale - part.duration_s) > TOLERANCE_S:
        yield _finding(part.url, 11, "DURATION of a part against its media", f"{media.duration / timescale:.6f}", part.duration_s)
    has_key = media.has_key
    if has_key is not None and has_key != part.is_independent:
        yield _finding(
            part.url, 12, "INDEPENDENT against the samples", "YES" if has_key else "absent", "YES" if part.is_independent else "absent"
        )
    if index == 0 and media.starts_with_key is False:
        yield _finding(part.url, 12, "first sample of a segment's first part", "an IDR or another random access point", "none")


def _concatenated(evidence: Evidence, segment: Segment, parts: tuple[Part, ...]) -> Iterator[Finding]:
    media = evidence.media.get(segment.url)
    pieces = [evidence.media.get(part.url) for part in parts]
    is_complete = abs(sum(part.duration_s for part in parts) - segment.duration_s) <= TOLERANCE_S
    if media is None or not parts or not is_complete or any(piece is None for piece in pieces):
        return
    joined = [chunk for piece in pieces if piece is not None for chunk in piece.chunks]
    if [chunk.digest for chunk in joined] != [chunk.digest for chunk in media.chunks]:
        expected = f"chunks at {[c.start for c in media.chunks]}"
        yield _finding(
            segment.url, 11, "parts of a segment against its bytes", f"{expected}, equal bytes", f"chunks at {[c.start for c in joined]}"
        )


def _switching(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rule 37 by media time: video cuts equal, audio less than a frame away."""
    for group in evidence.groups:
        rows = {url: evidence.segments(url) for url in group}
        reference = next((url for url in group if any(evidence.handler(s.url) == b"vide" for s in rows[url].values())), None)
        if reference is None:
            continue
        for other in group:
            for msn in sorted(rows[reference].keys() & rows[other].keys()):
                mine, theirs = rows[reference][msn], rows[other][msn]
                left, right = evidence.span_s(mine.url), evidence.span_s(theirs.url)
                if left is None or right is None:
                    continue
                allowed_s = frame_s(evidence, theirs) or 1e-6
                for name, a, b in (("start", left[0], right[0]), ("end", left[1], right[1])):
                    if abs(a - b) >= allowed_s:
                        yield _finding(
                            theirs.url,
                            37,
                            f"{name} of a segment against the video's",
                            f"{a:.6f} s, less than {allowed_s:.6f} away",
                            f"{b:.6f} s",
                        )


def _switching_sets(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rule 37 within the adaptation sets of an MPD."""
    for url, looks in evidence.mpds.items():
        seen: dict[tuple[str, str, float], tuple[float, str]] = {}
        for period in looks[-1].content.periods:
            for adaptation in period.sets:
                for r in adaptation.representations:
                    for entry in r.entries:
                        span = evidence.span_s(entry.url)
                        if span is None:
                            continue
                        key = (r.key[0], r.key[1], round(entry.time / r.timescale, 6))
                        end, other = seen.setdefault(key, (span[1], entry.url))
                        if abs(end - span[1]) > 1e-6:
                            yield _finding(
                                entry.url, 37, f"end of a segment in a set of {url}", f"{end:.6f} s, as {other}", f"{span[1]:.6f} s"
                            )


def _vectors(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rule 38: an initialisation vector is used for one sample only, of all that one init segment is for."""
    used: dict[tuple[str, bytes], tuple[bytes, str]] = {}
    for url, media in evidence.media.items():
        for chunk in media.chunks:
            for vector, count in _counted(chunk.ivs).items():
                key = (evidence.init_of[url], vector)
                digest, other = used.setdefault(key, (chunk.digest, url))
                if count > 1 or digest != chunk.digest:
                    yield _finding(url, 38, "an initialisation vector used twice", "once", f"{vector.hex()}, also in {other}")


def _counted(vectors: tuple[bytes, ...]) -> dict[bytes, int]:
    counts: dict[bytes, int] = defaultdict(int)
    for vector in vectors:
        counts[vector] += 1
    return counts


CHECKS = (_inits, _boxes, _continuous, _keys, _against_playlists, _switching, _switching_sets, _vectors)
