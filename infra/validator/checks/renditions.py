"""What must hold of all renditions of one HLS presentation together (rules 1, 8, 19, 20, 22, 24)."""

from collections.abc import Iterator
from itertools import pairwise

from infra.validator.evidence import Evidence, Look
from infra.validator.findings import Finding, Limits
from infra.validator.init import Init
from infra.validator.playlist import Media, Multivariant, Segment, Variant

# An audio frame where its length is not known: 2048 samples at 24 kHz, the longest in use.
AUDIO_FRAME_S = 0.0854
RATE_TOLERANCE = 0.02


def _finding(url: str, rule: int, what: str, expected: object, seen: object, at_ms: int = 0) -> Finding:
    return Finding(rule=rule, url=url, what=what, expected=str(expected), seen=str(seen), at_ms=at_ms)


def _constants(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for group in evidence.groups:
        firsts = [evidence.playlists[url][0].content for url in group]
        for other in firsts[1:]:
            # Captions may come without parts.
            if other.is_low_latency != firsts[0].is_low_latency:
                continue
            for rule, what, name in (
                (1, "EXT-X-TARGETDURATION", "target"),
                (8, "PART-TARGET", "part_target_s"),
                (8, "SERVER-CONTROL", "control"),
            ):
                mine, theirs = getattr(firsts[0], name), getattr(other, name)
                if mine != theirs:
                    yield _finding(other.url, rule, f"{what} differs between renditions", f"{mine}, as in {firsts[0].url}", theirs)


def frame_s(evidence: Evidence, segment: Segment) -> float:
    """Length of an audio frame of a segment; 0 for video."""
    handler = evidence.handler(segment.url)
    if handler == b"vide":
        return 0.0
    media, timescale = evidence.media.get(segment.url), evidence.timescale(segment.url)
    if media is None or not media.chunks or not timescale:
        return AUDIO_FRAME_S
    return media.chunks[0].durations[1] / timescale


def _aligned(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Boundaries by playlist, matched by wall time: media sequence numbers of renditions may differ (rule 24)."""
    for group in evidence.groups:
        timed = {url: [s for s in evidence.segments(url).values() if s.start_ms is not None] for url in group}
        if len(group) < 2 or not timed[group[0]]:
            continue
        reference = sorted(timed[group[0]], key=lambda s: s.msn)
        for other in group[1:]:
            segments = sorted(timed[other], key=lambda s: s.msn)
            yield from _match(evidence, reference, segments, other)


def _match(evidence: Evidence, reference: list[Segment], segments: list[Segment], url: str) -> Iterator[Finding]:
    if not segments:
        return
    first_ms, last_ms = segments[0].start_ms or 0.0, segments[-1].start_ms or 0.0
    starts = {s.msn: s for s in segments}
    for mine in reference:
        at_ms = mine.start_ms or 0.0
        # Where the numbers agree, and they mostly do, no search is needed.
        near = starts.get(mine.msn)
        if near is None or abs((near.start_ms or 0.0) - at_ms) > 1_000 * AUDIO_FRAME_S:
            near = min(segments, key=lambda s: abs((s.start_ms or 0.0) - at_ms))
        allowed_s = max(frame_s(evidence, mine), frame_s(evidence, near)) + 0.0015
        apart_ms = (near.start_ms or 0.0) - at_ms
        if abs(apart_ms) > 1_000 * allowed_s:
            if first_ms - 100 <= at_ms <= last_ms + 100:
                yield _finding(
                    url,
                    22,
                    "segment boundaries differ between renditions",
                    f"one at {at_ms:.0f} +- {1_000 * allowed_s:.0f} ms",
                    f"{apart_ms:+.0f} ms",
                )
            continue
        if abs(near.duration_s - mine.duration_s) > allowed_s:
            yield _finding(
                url,
                22,
                "segment lengths differ between renditions",
                f"{mine.duration_s} +- {allowed_s:.3f}",
                f"{near.duration_s} at {near.msn}",
            )
        if near.msn == mine.msn and near.discontinuity != mine.discontinuity:
            yield _finding(
                url, 20, "discontinuity numbers differ between renditions", f"{mine.discontinuity} at {mine.msn}", near.discontinuity
            )


def _one_clock(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rule 19: the same media time has the same wall time in all renditions, of any presentation of one origin's channel."""
    for group in evidence.groups:
        zeros: dict[int, tuple[float, str]] = {}
        for url in group:
            for segment in evidence.segments(url).values():
                span = evidence.span_s(segment.url)
                if span is None or segment.start_ms is None:
                    continue
                zero_ms = segment.start_ms - 1_000 * span[0]
                known, where = zeros.setdefault(segment.discontinuity, (zero_ms, url))
                if abs(known - zero_ms) > 2.01:
                    yield _finding(
                        url,
                        19,
                        "wall time of media time 0",
                        f"{known:.0f} +- 2 ms in discontinuity {segment.discontinuity}, as in {where}",
                        f"{zero_ms:.0f} at {segment.msn}",
                    )


def _in_step(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rule 20: what a playlist says of the number of its first discontinuity, whenever two renditions list the same first segment."""
    for group in evidence.groups:
        said: dict[int, tuple[int, str]] = {}
        for url in group:
            for look in evidence.playlists[url]:
                found = look.content
                known, where = said.setdefault(found.first_msn, (found.discontinuity_sequence, url))
                if known != found.discontinuity_sequence:
                    yield _finding(
                        url,
                        20,
                        "EXT-X-DISCONTINUITY-SEQUENCE differs between renditions",
                        f"{known} at {found.first_msn}, as in {where}",
                        found.discontinuity_sequence,
                        look.answer.done_ms,
                    )


def _multivariants(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    for url, looks in evidence.multivariants.items():
        for look in looks:
            for problem in look.content.problems:
                yield _finding(url, 24, "a multivariant playlist that cannot be read", "RFC 8216bis 4.4.6", problem, look.answer.done_ms)
        yield from _variants(evidence, looks[-1], limits)
        for before, after in pairwise(looks):
            if {v.url for v in before.content.variants} - {v.url for v in after.content.variants}:
                yield _finding(url, 24, "a variant disappeared", "all that were listed", "fewer", after.answer.done_ms)


def _variants(evidence: Evidence, look: Look[Multivariant], _: Limits) -> Iterator[Finding]:
    found = look.content
    for variant in found.variants:
        fields = variant.attributes
        group = {r["URI"] for r in found.renditions if "URI" in r and r.get("GROUP-ID") in {fields.get("AUDIO"), fields.get("VIDEO")}}
        for name in ("BANDWIDTH", "CODECS"):
            if name not in fields:
                yield _finding(found.url, 24, f"{name} of a variant", "there", f"none for {variant.url}")
        for kind in ("AUDIO", "VIDEO", "SUBTITLES"):
            if kind in fields and not any(r.get("GROUP-ID") == fields[kind] and r.get("TYPE") == kind for r in found.renditions):
                yield _finding(found.url, 24, f"{kind} group of a variant", f"an EXT-X-MEDIA of {fields[kind]}", "none")
        if fields.get("BANDWIDTH", "").isdigit():
            yield from _bandwidth(evidence, found.url, variant, group)
        yield from _samples(evidence, found.url, variant, group)


def peak_bps(evidence: Evidence, url: str) -> float:
    """Largest bit rate of any run of segments of half to one and a half target durations (RFC 8216bis 4.4.6.2), as measured."""
    looks = evidence.playlists.get(url)
    if not looks:
        return 0.0
    target_s, peak = looks[-1].content.target_s, 0.0
    segments = [s for _, s in sorted(evidence.segments(url).items())]
    for index in range(len(segments)):
        size, length_s = 0, 0.0
        for segment in segments[index:]:
            media = evidence.media.get(segment.url)
            length_s += segment.duration_s
            if media is None or length_s > 1.5 * target_s:
                break
            size += media.size
            if length_s >= 0.5 * target_s:
                peak = max(peak, 8 * size / length_s)
    return peak


def _bandwidth(evidence: Evidence, url: str, variant: Variant, group: set[str]) -> Iterator[Finding]:
    declared = int(variant.attributes["BANDWIDTH"])
    measured = peak_bps(evidence, variant.url) + max((peak_bps(evidence, other) for other in group), default=0.0)
    if measured > declared:
        yield _finding(url, 24, "BANDWIDTH below the measured peak", f">= {measured:.0f}", f"{declared} of {variant.url}")
    average = variant.attributes.get("AVERAGE-BANDWIDTH", "0")
    if average.isdigit() and int(average) > declared:
        yield _finding(url, 24, "AVERAGE-BANDWIDTH above BANDWIDTH", f"<= {declared}", f"{average} of {variant.url}")


def _newest_init(evidence: Evidence, looks: list[Look[Media]] | None) -> Init | None:
    for look in reversed(looks or []):
        for segment in reversed(look.content.segments):
            if segment.map_url in evidence.inits:
                return evidence.inits[segment.map_url]
    return None


def _samples(evidence: Evidence, url: str, variant: Variant, group: set[str]) -> Iterator[Finding]:
    fields = variant.attributes
    declared = [codec.strip().lower() for codec in fields.get("CODECS", "").split(",")]
    for place in (variant.url, *sorted(group)):
        init = _newest_init(evidence, evidence.playlists.get(place))
        if init is None:
            continue
        if "CODECS" in fields and not any(codec.startswith(init.codec.lower()) for codec in declared):
            yield _finding(url, 24, "CODECS against the samples", f"{init.codec} of {place}", fields["CODECS"])
        size = f"{init.width}x{init.height}"
        if place == variant.url and init.handler == b"vide" and fields.get("RESOLUTION", size) != size:
            yield _finding(url, 24, "RESOLUTION against the samples", f"{size} of {place}", fields["RESOLUTION"])
    yield from _frame_rate(evidence, url, variant)


def _frame_rate(evidence: Evidence, url: str, variant: Variant) -> Iterator[Finding]:
    try:
        declared = float(variant.attributes["FRAME-RATE"])
    except (KeyError, ValueError):
        return
    for segment in evidence.segments(variant.url).values():
        media, timescale = evidence.media.get(segment.url), evidence.timescale(segment.url)
        if media is None or evidence.handler(segment.url) != b"vide" or not media.duration or not timescale:
            continue
        measured = sum(len(c.flags_sync) for c in media.chunks) * timescale / media.duration
        if measured > declared * (1 + RATE_TOLERANCE):
            yield _finding(url, 24, "FRAME-RATE below the samples'", f">= {measured:.3f}", f"{declared} of {variant.url}")
            return


CHECKS = (_constants, _aligned, _one_clock, _in_step, _multivariants)
