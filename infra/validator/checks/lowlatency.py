"""What low-latency HLS answers to those who wait (rules 14, 15, 16)."""

from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import urljoin

from infra.validator.evidence import Answer, Evidence, Look
from infra.validator.findings import Finding, Limits
from infra.validator.playlist import Media

MSN_AHEAD_MAX = 2


def _finding(look: Look[Media], rule: int, what: str, expected: object, seen: object) -> Finding:
    return Finding(rule=rule, url=look.content.url, what=what, expected=str(expected), seen=str(seen), at_ms=look.answer.done_ms)


def _hints(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    """Rule 14: what is hinted is the next part."""
    for looks in evidence.playlists.values():
        for before, look in pairwise(looks):
            old, new = before.content, look.content
            hint = next((h["URI"] for h in old.hints if h.get("TYPE") == "PART"), None)
            if hint is None or new.edge <= old.edge:
                continue
            came = _next_part(old, new)
            if came is None or came == hint:
                continue
            # RFC 8216bis 6.2.6: a hint may come to nothing where segmentation changes; then nobody gets the bytes.
            is_new_period = new.open_discontinuity != old.open_discontinuity
            got = any(a.exchange.status == 200 and a.exchange.method == "GET" for a in evidence.answers.get(hint, ()))
            if not is_new_period or got:
                yield _finding(look, 14, "the part after a hint", hint, came)


def _next_part(old: Media, new: Media) -> str | None:
    msn, count = old.edge
    parts = next((s.parts for s in new.segments if s.msn == msn), tuple(new.open_parts) if new.last_msn + 1 == msn else ())
    if len(parts) > count:
        return parts[count].url
    following = next((s.parts for s in new.segments if s.msn == msn + 1), tuple(new.open_parts) if new.last_msn == msn else ())
    return following[0].url if following else None


def _hint_requests(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    """Rule 14: a hint's request waits and is then answered whole, at line speed."""
    for looks in evidence.playlists.values():
        hinted: dict[str, int] = {}
        listed: set[str] = set()
        for look in looks:
            for hint in look.content.hints:
                hinted.setdefault(hint["URI"], look.answer.done_ms)
            listed |= {p.url for s in look.content.segments for p in s.parts} | {p.url for p in look.content.open_parts}
        target_s = looks[-1].content.part_target_s or 0.0
        for url, at_ms in hinted.items():
            for answer in evidence.answers.get(url, ()):
                exchange = answer.exchange
                if exchange.sent_ms < at_ms or exchange.method != "GET":
                    continue
                if exchange.status != 200 and url in listed:
                    yield Finding(
                        rule=14,
                        url=url,
                        what="the request of a hint",
                        expected="waits, then 200",
                        seen=str(exchange.status),
                        at_ms=exchange.done_ms,
                    )
                slow_ms = exchange.done_ms - exchange.first_ms
                if exchange.status == 200 and slow_ms > 500 * target_s + limits.jitter_ms:
                    yield Finding(
                        rule=14,
                        url=url,
                        what="a hinted part comes slowly",
                        expected="whole, at line speed",
                        seen=f"over {slow_ms} ms",
                        at_ms=exchange.done_ms,
                    )


def position(found: Media) -> tuple[int, int]:
    """Where a playlist ends, as a rendition report says it: (LAST-MSN, LAST-PART); part -1 when the segment has none listed."""
    if found.open_parts:
        return found.last_msn + 1, len(found.open_parts) - 1
    return found.last_msn, len(found.segments[-1].parts) - 1 if found.segments else -1


def _behind(early: tuple[int, int], late: tuple[int, int]) -> bool:
    """Whether a position lies more than one part before another."""
    if early >= late:
        return False
    return not (early[0] == late[0] and late[1] - early[1] <= 1) and not (late[0] - early[0] == 1 and late[1] <= 0)


def _reports(evidence: Evidence, _: Limits) -> Iterator[Finding]:
    for group in evidence.groups:
        live = [url for url in group if any(look.content.is_low_latency for look in evidence.playlists[url])]
        positions = {
            url: [(look.answer.sent_ms, look.answer.done_ms, position(look.content)) for look in evidence.playlists[url]] for url in live
        }
        for url in live:
            for look in evidence.playlists[url]:
                if not look.content.is_ended and look.content.segments:
                    yield from _report(look, [other for other in live if other != url], positions)


def _report(look: Look[Media], others: list[str], positions: dict[str, list[tuple[int, int, tuple[int, int]]]]) -> Iterator[Finding]:
    said: dict[str, tuple[int, int]] = {}
    for report in look.content.reports:
        try:
            said[urljoin(look.content.url, report["URI"])] = int(report["LAST-MSN"]), int(report.get("LAST-PART", "-1"))
        except (KeyError, ValueError):
            yield _finding(look, 15, "EXT-X-RENDITION-REPORT", "URI and LAST-MSN", report)
    own = position(look.content)
    for other in others:
        if other not in said:
            yield _finding(look, 15, "EXT-X-RENDITION-REPORT of every other rendition", other, sorted(said))
            continue
        told = said[other]
        if _behind(told, own) or _behind(own, told):
            yield _finding(look, 15, "renditions in step within one part", f"{own}, as this one", f"{told} of {other}")
        # What was answered before this was asked for, and after it was answered, bounds what may be said of the other one.
        earlier = max((p for _, done, p in positions[other] if done <= look.answer.sent_ms), default=told)
        later = next((p for sent, _, p in positions[other] if sent >= look.answer.done_ms), None)
        if _behind(told, earlier):
            yield _finding(look, 15, "LAST-MSN and LAST-PART too old", f"{earlier} or one part less", f"{told} of {other}")
        if later is not None and told > later:
            yield _finding(look, 15, "LAST-MSN and LAST-PART not yet there", f"<= {later}", f"{told} of {other}")


def _blocking(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    """Rule 16, for every request with delivery directives."""
    for url, looks in evidence.playlists.items():
        if not any(look.content.control.get("CAN-BLOCK-RELOAD") == "YES" for look in looks):
            continue
        target_ms = 1_000 * looks[0].content.target_s
        part_ms = 1_000 * (looks[0].content.part_target_s or target_ms or 1)
        edges = [(look.answer.sent_ms, look.answer.done_ms, look.content) for look in looks]
        for answer in evidence.answers[url]:
            query = answer.exchange.query
            if "_HLS_part" not in query and "_HLS_msn" not in query:
                continue
            before = [content for _, done, content in edges if done <= answer.exchange.sent_ms]
            if before and before[-1].is_ended:
                if answer.exchange.status != 200:
                    yield _answered(answer, "directives after the end are ignored", "200")
                continue
            yield from _directives(
                answer, before, [c for sent, _, c in edges if sent >= answer.exchange.sent_ms][:1], target_ms, part_ms, limits
            )
        for look in looks:
            yield from _has_what_was_asked(look)


def _directives(
    answer: Answer, before: list[Media], after: list[Media], target_ms: float, part_ms: float, limits: Limits
) -> Iterator[Finding]:
    exchange, query = answer.exchange, answer.exchange.query
    msn_text, part_text = query.get("_HLS_msn"), query.get("_HLS_part")
    if msn_text is None:
        if exchange.status != 400:
            yield _answered(answer, "_HLS_part without _HLS_msn", "400")
        return
    if not msn_text.isdigit() or not before:
        return
    msn, last = int(msn_text), before[-1].last_msn
    newest = after[0].last_msn if after else last
    if msn > newest + MSN_AHEAD_MAX:
        if exchange.status != 400:
            yield _answered(answer, f"_HLS_msn more than {MSN_AHEAD_MAX} ahead", f"400, the last is {last}")
        return
    part = int(part_text) if part_text is not None and part_text.isdigit() else None
    # hls.js asks for the highest part number it has seen, also after longer segments; and the part after all of the longest segment's
    # is asked for by its number as long as the segment is not listed.
    listed = before[-1].edge[1] if before[-1].edge[0] == msn else 0
    if part is not None and msn > newest and part >= max(-(-target_ms // part_ms), listed + 1):
        if exchange.status != 400:
            yield _answered(answer, "_HLS_part beyond any segment", "400")
        return
    is_possible = msn <= last + MSN_AHEAD_MAX and (part is None or part < target_ms / part_ms)
    if is_possible and exchange.status == 400:
        yield _answered(answer, "a blocking request that can be served", f"200, the last is {last}")
    took_ms = exchange.first_ms - exchange.sent_ms
    if exchange.status == 200 and took_ms > 3 * target_ms + limits.jitter_ms:
        yield _answered(
            answer, "blocked for more than 3 targets", f"503 after {3 * target_ms / 1_000:g} s", f"200 after {took_ms / 1_000:.2f} s"
        )
    if exchange.status == 503 and took_ms < 3 * target_ms - limits.jitter_ms:
        yield _answered(
            answer, "refused before 3 targets", f"an answer, or 503 after {3 * target_ms / 1_000:g} s", f"503 after {took_ms / 1_000:.2f} s"
        )


def _answered(answer: Answer, what: str, expected: str, seen: str | None = None) -> Finding:
    exchange = answer.exchange
    return Finding(rule=16, url=exchange.url, what=what, expected=expected, seen=seen or str(exchange.status), at_ms=exchange.done_ms)


def _has_what_was_asked(look: Look[Media]) -> Iterator[Finding]:
    query, found = look.answer.query, look.content
    if found.is_ended or not query.get("_HLS_msn", "").isdigit():
        return
    msn, part = int(query["_HLS_msn"]), query.get("_HLS_part")
    # A part beyond the last of a finished segment is the first of the next.
    has = found.last_msn >= msn if part is None or not part.isdigit() else (msn, int(part)) < found.edge
    if part is not None and part.isdigit() and found.last_msn == msn:
        count = len(found.segments[-1].parts) if found.segments else 0
        has = int(part) < count or bool(found.open_parts)
    if not has:
        yield _finding(look, 16, "a blocking reload answered without what it waits for", f"{msn}.{part or ''}", f"edge {found.edge}")


CHECKS = (_hints, _hint_requests, _reports, _blocking)
