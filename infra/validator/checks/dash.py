"""What each MPD must hold, alone and beside its media (rules 25, 26, 28 to 32)."""

from collections.abc import Iterator
from itertools import pairwise

from infra.validator.evidence import Evidence, Look
from infra.validator.findings import Finding, Limits
from infra.validator.mpd import AdaptationSet, Entry, Mpd, Period, Representation

NOMINAL_SHARE = 0.5
# What a low-latency client may wait for: a chunk. Ours are a quarter of a second, none in use is longer.
CHUNK_MS = 500


def finding(look: Look[Mpd], rule: int, what: str, expected: object, seen: object) -> Finding:
    """A finding about an MPD at a look."""
    return Finding(rule=rule, url=look.content.url, what=what, expected=str(expected), seen=str(seen), at_ms=look.answer.done_ms)


def distinct(looks: list[Look[Mpd]]) -> list[Look[Mpd]]:
    """Looks that differ from the one before."""
    return [look for before, look in zip([None, *looks], looks, strict=False) if before is None or look.digest != before.digest]


def end_ms(mpd: Mpd, period: Period, r: Representation, entry: Entry) -> float | None:
    """Unix time at which a segment is whole and available, its availabilityTimeOffset left aside."""
    if mpd.available_ms is None or period.start_s is None:
        return None
    return mpd.available_ms + 1_000 * (float(period.start_s) + (entry.time + entry.duration - r.offset) / r.timescale)


def _each(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    for looks in evidence.mpds.values():
        for look in distinct(looks):
            yield from _root(look)
            if look.content.is_low_latency or (limits.needs_low_latency and not look.content.is_ended):
                yield from _low_latency(look)
            for period in look.content.periods:
                for one in period.sets:
                    yield from _set(look, one)
                    for r in one.representations:
                        yield from _timeline(look, r)


def _root(look: Look[Mpd]) -> Iterator[Finding]:
    mpd = look.content
    for problem in mpd.problems:
        yield finding(look, 26 if "S@" in problem else 25, "an MPD that cannot be read whole", "ISO/IEC 23009-1", problem)
    if not mpd.is_dynamic:
        return
    if mpd.available_ms is None:
        yield finding(look, 25, "availabilityStartTime", "a time", mpd.attributes.get("availabilityStartTime"))
    if mpd.published_ms is None:
        yield finding(look, 25, "publishTime", "a time", mpd.attributes.get("publishTime"))
    if not mpd.timings:
        yield finding(look, 25, "UTCTiming", "at least one", "none")
    for period in mpd.periods:
        if period.start_s is None:
            yield finding(look, 25, "Period@start", "there", f"none in {period.id}")
    for before, after in pairwise(mpd.periods):
        if before.start_s is not None and after.start_s is not None and after.start_s <= before.start_s:
            yield finding(look, 25, "order of periods", f"> {float(before.start_s):g} s", f"{float(after.start_s):g} s of {after.id}")


def _set(look: Look[Mpd], one: AdaptationSet) -> Iterator[Finding]:
    if not one.representations:
        return
    first = one.representations[0]
    if one.attributes.get("segmentAlignment") not in {"true", "1"} and len(one.representations) > 1:
        yield finding(look, 28, "segmentAlignment of a set with several representations", "true", one.attributes.get("segmentAlignment"))
    for other in one.representations[1:]:
        if other.uses_number != first.uses_number or other.has_timeline != first.has_timeline:
            yield finding(look, 28, "addressing within a set", f"as {first.name}", f"another in {other.name}")
        mine = [(e.time / first.timescale, e.duration / first.timescale) for e in first.entries]
        theirs = [(e.time / other.timescale, e.duration / other.timescale) for e in other.entries]
        for a, b in zip(mine, theirs, strict=False):
            if abs(a[0] - b[0]) > 1e-6 or abs(a[1] - b[1]) > 1e-6:
                yield finding(look, 28, "segment boundaries within a set", f"(t, d) = {a} s, as {first.name}", f"{b} s in {other.name}")
                break
        if len(mine) != len(theirs):
            yield finding(look, 28, "segments listed within a set", f"{len(mine)}, as {first.name}", f"{len(theirs)} in {other.name}")


def _timeline(look: Look[Mpd], r: Representation) -> Iterator[Finding]:
    mpd = look.content
    if r.has_timeline and r.duration is not None:
        yield finding(look, 26, "SegmentTemplate@duration beside a SegmentTimeline", "none", f"{r.duration} in {r.name}")
    for before, after in pairwise(r.entries):
        if after.time != before.time + before.duration:
            yield finding(look, 26, "S@t against the entries before it", before.time + before.duration, f"{after.time} in {r.name}")
    longest_s = mpd.seconds("maxSegmentDuration")
    if longest_s is None:
        if mpd.is_dynamic:
            yield finding(look, 30, "maxSegmentDuration", "there", mpd.attributes.get("maxSegmentDuration"))
        return
    for entry in r.entries:
        if entry.duration / r.timescale > longest_s + 1e-6:
            yield finding(
                look, 30, "S@d above maxSegmentDuration", f"<= {longest_s:g} s", f"{entry.duration / r.timescale:g} s in {r.name}"
            )


def _low_latency(look: Look[Mpd]) -> Iterator[Finding]:
    mpd = look.content
    if not mpd.services or not mpd.latency_targets_ms:
        yield finding(look, 31, "ServiceDescription with a Latency", "there", "none")
    for target in mpd.latency_targets_ms:
        if not target.isdigit() or int(target) < 1:
            yield finding(look, 31, "Latency@target", "milliseconds, > 0", target or None)
    for period in mpd.periods:
        ids: list[str] = []
        for one in period.sets:
            for r in one.representations:
                if r.availability_offset_s is None or r.availability_offset_s <= 0:
                    yield finding(look, 31, "availabilityTimeOffset", "> 0", f"{r.availability_offset_s} in {r.name}")
                if r.is_complete:
                    yield finding(look, 31, "availabilityTimeComplete", "false", f"true in {r.name}")
                if not r.producer_times and r.attributes.get("contentType") != "text":
                    yield finding(look, 31, "ProducerReferenceTime", "in every set or representation", f"none in {r.name}")
            ids += sorted({name for r in one.representations for name in r.producer_times})
        for name in {name for name in ids if ids.count(name) > 1}:
            yield finding(look, 31, "ProducerReferenceTime@id", "unique in a period", f"{name!r} in {ids.count(name)} sets of {period.id}")
        for r in period.representations:
            for entry in r.entries[-1:]:
                ends = end_ms(mpd, period, r, entry)
                if ends is not None and ends - 1_000 * entry.duration / r.timescale > look.answer.done_ms and not mpd.is_ended:
                    begins_s = (ends - 1_000 * entry.duration / r.timescale - look.answer.done_ms) / 1_000
                    yield finding(
                        look, 31, "a segment listed before it begins", "one that has begun", f"{begins_s:.2f} s early in {r.name}"
                    )


def _clocks(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for looks in evidence.mpds.values():
        for scheme, url in dict.fromkeys(timing for look in looks for timing in look.content.timings):
            for answer in evidence.answers.get(url, ()) if ":http-" in scheme else ():
                if answer.exchange.status != 200:
                    seen = answer.exchange.status or answer.exchange.error
                    yield Finding(rule=25, url=url, what="the time", expected="200", seen=str(seen), at_ms=answer.exchange.done_ms)


def _media(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rules 26, 29 and 32: timelines against the samples."""
    for looks in evidence.mpds.values():
        told: set[tuple[str, int, int]] = set()
        closing = _closing(looks)
        for look in distinct(looks):
            for period in look.content.periods:
                for r in period.representations:
                    for entry in r.entries:
                        if (entry.url, entry.time, entry.duration) not in told:
                            told.add((entry.url, entry.time, entry.duration))
                            yield from _entry(evidence, look, (period, r, entry), is_closing=entry.url in closing)
                    if r.duration is not None and not r.has_timeline:
                        yield from _simple(evidence, look, r)


def _closing(looks: list[Look[Mpd]]) -> set[str]:
    """The last segment of each period that is followed by another, or by the end: it may be cut short after it was announced."""
    final = looks[-1].content
    over = [p.id for p in (final.periods if final.is_ended else final.periods[:-1])]
    urls: dict[tuple[str, str, str], str] = {}
    for look in looks:
        for period in look.content.periods:
            if period.id in over or period.id not in [p.id for p in final.periods]:
                urls |= {r.key: r.entries[-1].url for r in period.representations if r.entries}
    return set(urls.values())


def _entry(evidence: Evidence, look: Look[Mpd], where: tuple[Period, Representation, Entry], *, is_closing: bool) -> Iterator[Finding]:
    period, r, entry = where
    media = evidence.media.get(entry.url)
    if media is None or not media.chunks:
        return
    if media.start != entry.time:
        yield finding(look, 26, "S@t against tfdt", f"{media.start} of {entry.url}", f"{entry.time} in {r.name}")
    init = evidence.inits.get(evidence.init_of[entry.url])
    if init is not None and media.chunks[0].first_offset != init.edit:
        # Presentation begins later than decoding: S@t is not where a player puts the first picture.
        yield finding(look, 26, "first composition offset", f"{init.edit}, as the edit list, in {entry.url}", media.chunks[0].first_offset)
    timescale = evidence.timescale(entry.url)
    if timescale and timescale != r.timescale:
        yield finding(look, 26, "SegmentTemplate@timescale", f"{timescale} of {r.init_url}", f"{r.timescale} in {r.name}")
    if media.duration == entry.duration:
        return
    ends = end_ms(look.content, period, r, entry)
    was_open = ends is not None and look.answer.done_ms < ends
    # What was announced is not edited when the period ends inside it: the next one's start clips it.
    if is_closing and media.duration < entry.duration and (was_open or look.content.is_low_latency):
        return
    yield finding(
        look, 32 if was_open else 26, "S@d against the samples", f"{media.duration} of {entry.url}", f"{entry.duration} in {r.name}"
    )


def _simple(evidence: Evidence, look: Look[Mpd], r: Representation) -> Iterator[Finding]:
    """Rule 29, for ``$Number$`` and @duration: each edge lies within half a nominal duration of where the number says."""
    edge = NOMINAL_SHARE * (r.duration or 0)
    for url, init_url in evidence.init_of.items():
        media = evidence.media.get(url)
        if init_url != r.init_url or media is None or not r.duration:
            continue
        ordinal = round((media.start - r.offset) / r.duration)
        for at, nominal in ((media.start, ordinal), (media.start + media.duration, ordinal + 1)):
            away = at - r.offset - nominal * r.duration
            if abs(away) > edge:
                yield finding(
                    look,
                    29,
                    "edge of a segment against @duration",
                    f"within {edge:g} ticks of {nominal * r.duration}",
                    f"{away:+} of {url}",
                )


def _available(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    """Rules 30 and 31: there from the advertised time on, and the first bytes soon after it."""
    for looks in evidence.mpds.values():
        seen: set[str] = set()
        for look in distinct(looks):
            for period in look.content.periods:
                for r in period.representations:
                    for entry in r.entries:
                        ends = end_ms(look.content, period, r, entry)
                        if ends is not None and entry.url not in seen:
                            seen.add(entry.url)
                            yield from _answers(evidence, look, r, entry, ends, limits)


def _answers(evidence: Evidence, look: Look[Mpd], r: Representation, entry: Entry, ends: float, limits: Limits) -> Iterator[Finding]:
    begins = ends - 1_000 * (r.availability_offset_s or 0.0)
    depth_s = look.content.seconds("timeShiftBufferDepth")
    for answer in evidence.answers.get(entry.url, ()):
        exchange = answer.exchange
        since = max(begins, look.answer.done_ms)
        is_gone = depth_s is not None and exchange.sent_ms > ends + 1_000 * depth_s
        if exchange.sent_ms < since or is_gone:
            continue
        if exchange.status not in {200, 206}:
            yield Finding(
                rule=30,
                url=entry.url,
                what="a segment from its availability start on",
                expected="200",
                seen=f"{exchange.status or exchange.error} {(exchange.sent_ms - begins) / 1_000:.2f} s after it",
                at_ms=exchange.done_ms,
            )
        waited_ms = exchange.first_ms - exchange.sent_ms
        is_open = r.availability_offset_s and exchange.sent_ms < ends
        if is_open and exchange.method == "GET" and waited_ms > CHUNK_MS + limits.jitter_ms:
            yield Finding(
                rule=31,
                url=entry.url,
                what="first bytes after the advertised time",
                expected=f"within {CHUNK_MS} ms",
                seen=f"{waited_ms} ms",
                at_ms=exchange.first_ms,
            )


CHECKS = (_each, _clocks, _media, _available)
