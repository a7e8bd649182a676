"""How manifests and objects are answered (rules 3, 6, 7, 14, 21, 23, 39)."""

from collections.abc import Iterator

from infra.validator.evidence import Answer, Evidence
from infra.validator.findings import Finding, Limits
from infra.validator.playlist import Media

M3U8 = {"application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl"}
MPD = {"application/dash+xml"}
MP4 = {"video/mp4", "audio/mp4", "application/mp4", "video/iso.segment", "audio/iso.segment", "application/octet-stream"}
# Below this, compressing is not worth its header.
GZIP_BYTES_MIN = 1_000


def _finding(answer: Answer, rule: int, what: str, expected: object, seen: object) -> Finding:
    exchange = answer.exchange
    return Finding(rule=rule, url=exchange.url, what=what, expected=str(expected), seen=str(seen), at_ms=exchange.done_ms)


def _listed(evidence: Evidence) -> dict[str, tuple[int, int | None, float, float]]:
    """Every object that a playlist listed: since when, until when (None: still), its length, that of the longest playlist with it."""
    spans: dict[str, tuple[int, int | None, float, float]] = {}
    for looks in evidence.playlists.values():
        before: dict[str, float] = {}
        for look in looks:
            now = _objects(look.content)
            listed_s = look.content.listed_s
            for url, length_s in now.items():
                since, _, _, longest_s = spans.get(url, (look.answer.done_ms, None, length_s, 0.0))
                spans[url] = since, None, length_s, max(longest_s, listed_s)
            for url in before.keys() - now.keys():
                since, until, length_s, longest_s = spans[url]
                spans[url] = since, until or look.answer.sent_ms, length_s, longest_s
            before = now
    return spans


def _objects(found: Media) -> dict[str, float]:
    whole = {s.url: s.duration_s for s in found.segments if not s.is_gap}
    parts = {p.url: p.duration_s for s in found.segments for p in s.parts if not p.is_gap}
    return whole | parts | {p.url: p.duration_s for p in found.open_parts if not p.is_gap}


def _there(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    targets_s = [looks[-1].content.target_s for looks in evidence.playlists.values() if looks]
    target_s = max(targets_s, default=0.0)
    parts = {p.url for looks in evidence.playlists.values() for look in looks for s in look.content.segments for p in s.parts}
    for url, (since, until, length_s, longest_s) in _listed(evidence).items():
        keep_ms = since + 1_000 * (length_s + longest_s)
        if url in parts and until is not None:
            keep_ms = until + 3_000 * target_s
        for answer in evidence.answers.get(url, ()):
            exchange = answer.exchange
            if exchange.sent_ms < since:
                continue
            is_listed = until is None or exchange.sent_ms < until
            if exchange.status not in {200, 206}:
                if is_listed:
                    yield _finding(answer, 7, "what is listed is not there", "200", exchange.status or exchange.error)
                elif exchange.sent_ms < keep_ms:
                    yield _finding(
                        answer, 6, "removed too soon", f"200 for {(keep_ms - exchange.sent_ms) / 1_000:.1f} s more", exchange.status
                    )
                continue
            took_ms = exchange.done_ms - exchange.sent_ms
            if is_listed and took_ms > limits.answer_ms:
                yield _finding(answer, 7, "what is listed comes slowly", f"at once, within {limits.answer_ms:g} ms", f"{took_ms} ms")
    for answer in _of_manifests(evidence):
        query = answer.exchange.query
        if answer.exchange.status != 200 and not any(name.startswith("_HLS_") for name in query):
            yield _finding(answer, 7, "a manifest is not there", "200", answer.exchange.status or answer.exchange.error)


def _of_manifests(evidence: Evidence) -> Iterator[Answer]:
    for places in (evidence.multivariants, evidence.playlists, evidence.mpds):
        for place in places:
            yield from evidence.answers[place]
    listed = {url for looks in evidence.multivariants.values() for look in looks for url in look.content.playlists}
    for place in listed - evidence.playlists.keys():
        yield from evidence.answers.get(place, ())


def _whole(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for answers in evidence.answers.values():
        for answer in answers:
            exchange = answer.exchange
            if exchange.status != 200 or exchange.method != "GET":
                continue
            announced = exchange.headers.get("content-length", "")
            is_plain = "content-encoding" not in exchange.headers
            if exchange.error:
                yield _finding(answer, 7, "an answer cut short", "all of it", exchange.error)
            elif is_plain and announced.isdigit() and int(announced) != answer.size:
                yield _finding(answer, 7, "bytes against the announced size", announced, answer.size)
            elif answer.size == 0:
                yield _finding(answer, 7, "an empty answer", "bytes", "none")


def _same_bytes(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    inits = set(evidence.init_of.values())
    for url in {*evidence.init_of, *inits}:
        whole = [
            a for a in evidence.answers.get(url, ()) if a.exchange.status == 200 and a.exchange.method == "GET" and not a.exchange.error
        ]
        for answer in whole[1:]:
            if answer.digest != whole[0].digest:
                seen = f"{answer.size} bytes, {answer.digest.hex()[:12]}"
                expected = f"{whole[0].size} bytes, {whole[0].digest.hex()[:12]}"
                yield _finding(answer, 39 if url in inits else 3, "one object with two contents", expected, seen)


def _headers(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    manifests = {
        **dict.fromkeys(evidence.multivariants, M3U8),
        **dict.fromkeys(evidence.playlists, M3U8),
        **dict.fromkeys(evidence.mpds, MPD),
    }
    objects = {*evidence.init_of, *evidence.init_of.values()}
    for url, answers in evidence.answers.items():
        wanted = manifests.get(url) or (MP4 if url in objects else None)
        for answer in answers:
            exchange = answer.exchange
            # What does not exist may exist in a moment.
            if exchange.status == 404 and "no-store" not in exchange.headers.get("cache-control", ""):
                yield _finding(answer, 21, "Cache-Control of a 404", "no-store", exchange.headers.get("cache-control"))
            if wanted is None or exchange.status != 200:
                continue
            kind = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in wanted:
                yield _finding(answer, 23, "Content-Type", f"one of {', '.join(sorted(wanted))}", kind or None)
            if "cache-control" not in exchange.headers:
                yield _finding(answer, 23, "Cache-Control", "there", None)
            if wanted is not MP4:
                yield from _manifest_headers(answer, evidence)


def _manifest_headers(answer: Answer, evidence: Evidence) -> Iterator[Finding]:
    exchange = answer.exchange
    if (
        exchange.method == "GET"
        and answer.size >= GZIP_BYTES_MIN
        and exchange.headers.get("content-encoding") not in {"gzip", "br", "zstd"}
    ):
        yield _finding(answer, 23, "compression of a manifest", "gzip", exchange.headers.get("content-encoding"))
    looks = evidence.playlists.get(exchange.place)
    if not looks or looks[-1].content.is_ended:
        return
    target_s = looks[0].content.target_s
    ages = [
        value
        for name, _, value in (p.strip().partition("=") for p in exchange.headers.get("cache-control", "").split(","))
        if name == "max-age"
    ]
    limit_s = 6 * target_s if "_HLS_msn" in exchange.query else target_s
    if ages and ages[0].isdigit() and int(ages[0]) > limit_s:
        yield _finding(answer, 23, "Cache-Control of a live playlist", f"max-age <= {limit_s:g}", ages[0])
    is_secure = exchange.url.startswith("https:")
    if is_secure and looks[0].content.is_low_latency and exchange.version != "HTTP/2":
        yield _finding(answer, 23, "HTTP version of low-latency HLS", "HTTP/2", exchange.version)


CHECKS = (_there, _whole, _same_bytes, _headers)
