"""Defects of HLS: (rule, what is wrong, how good output is spoiled)."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from infra.validator.recording import Exchange
from tests.unit.validator.edits import Edit, Exchanges, answer, at, chain, each, header, lines, swap, text, with_body

LL, HLS, OTHER, AUDIO = r"/ll/v0\.m3u8", r"/hls/v0\.m3u8", r"/hls/v1\.m3u8", r"/hls/a0\.m3u8"
EVERY, MULTIVARIANT = r"\.m3u8", r"/hls/multivariant\.m3u8"
LATE = 0.6


def blocks(body: str) -> tuple[list[str], list[list[str]], list[str]]:
    """A media playlist as its head, the lines of each segment, and the rest."""
    head: list[str] = []
    segments: list[list[str]] = []
    pending: list[str] = []
    for line in body.splitlines():
        starts = line.startswith(("#EXT-X-MAP", "#EXT-X-PROGRAM", "#EXT-X-PART:", "#EXTINF", "#EXT-X-GAP", "#EXT-X-DISCONTINUITY"))
        if not segments and not pending and (line.startswith("#EXT-X-DISCONTINUITY-SEQUENCE") or not starts):
            head.append(line)
            continue
        pending.append(line)
        if not line.startswith("#"):
            segments.append(pending)
            pending = []
    return head, segments, pending


def number(body: str) -> int:
    """EXT-X-MEDIA-SEQUENCE."""
    return int(re.findall(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", body)[0])


def renumber(head: list[str], msn: int) -> list[str]:
    return [re.sub(r"(MEDIA-SEQUENCE:)\d+", rf"\g<1>{msn}", line) for line in head]


def put(head: list[str], segments: list[list[str]], rest: list[str]) -> str:
    return "\n".join([*head, *(line for segment in segments for line in segment), *rest]) + "\n"


def without_middle(body: str) -> str:
    head, segments, rest = blocks(body)
    return put(head, segments[:-4] + segments[-3:], rest)


def shrunk(body: str) -> str:
    head, segments, rest = blocks(body)
    kept = segments[-2:]
    opening = [line for segment in segments for line in segment if line.startswith("#EXT-X-MAP")][-1:]
    return put(renumber(head, number(body) + len(segments) - 2), [[*opening, *kept[0]], *kept[1:]], rest)


def without_edge(body: str) -> str:
    """A low-latency playlist that ends in a segment."""
    head, segments, rest = blocks(body)
    return put(head, segments, [line for line in rest if line.startswith("#EXT-X-RENDITION-REPORT")])


def frozen(pattern: str, start: float, seconds: float) -> Edit:
    """For a time a playlist is answered as it was before."""

    def apply(exchanges: Exchanges) -> Exchanges:
        own = [e for e in exchanges if at(e, pattern)]
        begin = own[int(start * len(own))]
        stop = begin.done_ms + 1_000 * seconds
        return [replace(e, body=begin.body) if at(e, pattern) and begin.done_ms <= e.done_ms < stop else e for e in exchanges]

    return apply


def unseen(pattern: str, start: float, seconds: float) -> Edit:
    """For a time a playlist does not answer."""

    def apply(exchanges: Exchanges) -> Exchanges:
        own = [e for e in exchanges if at(e, pattern)]
        begin = own[int(start * len(own))].done_ms
        return [e for e in exchanges if not (at(e, pattern) and begin < e.done_ms < begin + 1_000 * seconds)]

    return apply


def gone_back(exchanges: Exchanges) -> Exchanges:
    own = [i for i, e in enumerate(exchanges) if at(e, HLS)]
    old = exchanges[own[len(own) // 3]].body
    return [replace(e, body=old) if i == own[-1] else e for i, e in enumerate(exchanges)]


def fallen_number(exchanges: Exchanges) -> Exchanges:
    own = [i for i, e in enumerate(exchanges) if at(e, HLS)]
    first = number(exchanges[own[0]].body.decode())
    edit = swap(HLS, r"(MEDIA-SEQUENCE:)\d+", rf"\g<1>{first - 1}", share=0.99)
    return edit(exchanges)


def late_look(pattern: str, old: str, new: str, count: int = 1) -> Edit:
    """Only the last look says something else."""
    return swap(pattern, old, new, share=0.985, count=count)


def delta(edit: str, new: str) -> Edit:
    """Change delta updates alone."""

    def one(exchange: Exchange) -> Exchange:
        body = exchange.body.decode()
        return with_body(exchange, re.sub(edit, new, body, flags=re.MULTILINE).encode()) if "#EXT-X-SKIP" in body else exchange

    return each(LL, one)


def skips_too_much(exchange: Exchange) -> Exchange:
    body = exchange.body.decode()
    found = re.search(r"SKIPPED-SEGMENTS=(\d+)", body)
    if found is None:
        return exchange
    head, segments, rest = blocks(body)
    head = [line.replace(found[0], f"SKIPPED-SEGMENTS={int(found[1]) + 6}") for line in head]
    # The tag may stand among the lines of the first segment.
    first = [line.replace(found[0], f"SKIPPED-SEGMENTS={int(found[1]) + 6}") for line in segments[0] if "SKIP" in line]
    return with_body(exchange, put([*head, *first], segments[6:], rest).encode())


def skip_unknown(exchange: Exchange) -> Exchange:
    return with_body(exchange, re.sub(r"(SKIPPED-SEGMENTS=)(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}", exchange.body.decode()).encode())


def removed_is_gone(kind: str) -> Edit:
    return answer(lambda e: e.method == "HEAD" and re.search(kind, e.place) is not None, 404)


def blocked_without(exchanges: Exchanges) -> Exchanges:
    own = [i for i, e in enumerate(exchanges) if at(e, LL)]
    waits = [(a, b) for a, b in pairwise(own) if "_HLS_msn" in exchanges[b].url and "SKIP" not in exchanges[b].url]
    before, after = next((a, b) for a, b in waits if b"#EXT-X-SKIP" not in exchanges[a].body)
    return [replace(e, body=exchanges[before].body) if i == after else e for i, e in enumerate(exchanges)]


def without_part(body: str) -> str:
    """One inner part of a finished segment is not listed."""

    def edit(all_lines: list[str]) -> Iterator[str]:
        parts = 0
        for index, line in enumerate(all_lines):
            parts = parts + 1 if line.startswith("#EXT-X-PART:") else 0
            following = all_lines[index + 1] if index + 1 < len(all_lines) else ""
            if parts == 2 and following.startswith(("#EXTINF", "#EXT-X-PART:")):
                continue
            yield line

    return lines(edit)(body)


def no_gap_any_more(exchanges: Exchanges) -> Exchanges:
    """Early looks list the first segment as a gap."""
    return swap(HLS, r"^#EXTINF", "#EXT-X-GAP\n#EXTINF", until=0.3, count=1)(exchanges)


def moved(pattern: str, ms: int, *, share: float = 0.0) -> Edit:
    """All wall times of a playlist are later."""

    def later(match: re.Match[str]) -> str:
        time = datetime.fromisoformat(match[1]) + timedelta(milliseconds=ms)
        return "#EXT-X-PROGRAM-DATE-TIME:" + time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    return text(pattern, lambda body: re.sub(r"#EXT-X-PROGRAM-DATE-TIME:(\S+)", later, body), share=share)


def one_moved(pattern: str) -> Edit:
    """One segment, known by its name, has another wall time in every look."""

    def apply(exchanges: Exchanges) -> Exchanges:
        body = next(e for e in exchanges if at(e, pattern)).body.decode()
        own = blocks(body)[1][-2]
        old = next(line for line in own if line.startswith("#EXT-X-PROGRAM-DATE-TIME"))
        new = old[:-2] + ("0Z" if old[-2] != "0" else "5Z")
        new = re.sub(r"\.(\d)", lambda m: f".{(int(m[1]) + 4) % 10}", new)
        return text(pattern, lambda b: b.replace(old, new))(exchanges)

    return apply


def dated(start: str) -> Edit:
    """A playlist with a date range."""
    return swap(HLS, r"^(#EXT-X-MEDIA-SEQUENCE)", rf'#EXT-X-DATERANGE:ID="ad-1",START-DATE="{start}"\n\1')


def slow(exchange: Exchange) -> Exchange:
    return replace(exchange, done_ms=exchange.done_ms + 5_000)


def cut(exchange: Exchange) -> Exchange:
    return replace(exchange, body=exchange.body[: len(exchange.body) // 2])


BEYOND = re.compile(r"_HLS_msn=\d+$")
HLS_MUTATIONS: tuple[tuple[int, str, Edit], ...] = (
    (1, "no target duration", swap(LL, r"^#EXT-X-TARGETDURATION.*\n", "")),
    (1, "target duration changes", swap(HLS, r"TARGETDURATION:4", "TARGETDURATION:5", share=LATE)),
    (1, "target duration differs between renditions", swap(AUDIO, r"TARGETDURATION:4", "TARGETDURATION:5")),
    (1, "target duration is no whole number", swap(HLS, r"TARGETDURATION:4", "TARGETDURATION:4.0")),
    (2, "a segment is longer than the target", swap(HLS, r"^#EXTINF:4\.0+,", "#EXTINF:4.600000,")),
    (2, "durations are not those of the media", swap(OTHER, r"^#EXTINF:1\.000000,", "#EXTINF:1.002000,")),
    (3, "the URI of a number changes", late_look(HLS, r"^\.\./0/v0/\d+\.m4s", "../0/v0/1.m4s")),
    (3, "the duration of a number changes", late_look(HLS, r"^#EXTINF:4\.000000", "#EXTINF:3.000000")),
    (
        3,
        "the media sequence number is one too high",
        text(HLS, lambda b: put(renumber((p := blocks(b))[0], number(b) + 1), *p[1:]), share=LATE),
    ),
    (3, "the media sequence number falls", fallen_number),
    (3, "a segment leaves the middle", text(HLS, without_middle, share=LATE)),
    (3, "a playlist goes back", gone_back),
    (3, "the parts of a segment change", text(LL, lambda b: re.sub(r"(DURATION=0\.4)80", r"\g<1>81", b), share=0.9)),
    (3, "the end is taken back", text(HLS, lambda b: b + "#EXT-X-ENDLIST\n", share=0.4, until=0.5)),
    (3, "a date range moves", chain(dated("2026-01-01T00:00:00Z"), swap(HLS, "2026-01-01", "2026-01-02", share=LATE))),
    (33, "a date range without a time", dated("soon")),
    (4, "a live playlist has a type", swap(HLS, r"^(#EXT-X-MEDIA-SEQUENCE)", r"#EXT-X-PLAYLIST-TYPE:EVENT\n\1")),
    (4, "a live playlist shrinks", text(HLS, shrunk, share=LATE)),
    (5, "no new segment for 9 s", frozen(HLS, 0.3, 9)),
    (5, "no new segment at the end", frozen(HLS, 0.6, 99)),
    (6, "a removed segment is gone at once", removed_is_gone(r"/\d+\.m4s$")),
    (6, "a removed part is gone at once", removed_is_gone(r"\.part\.m4s$")),
    (7, "a listed segment is not there", answer(lambda e: at(e, r"/v0/\d+\.m4s"), 404, first=1)),
    (7, "a listed part is refused", answer(lambda e: at(e, r"/v0/\d+\.part\.m4s"), 503)),
    (7, "a segment is cut short", each(r"/v0/\d+\.m4s", cut)),
    (7, "a segment comes slowly", each(r"/a0/\d+\.m4s", slow)),
    (7, "a playlist is not there for a moment", answer(lambda e: at(e, HLS) and e.sent_ms % 3 == 0, 500)),
    (7, "an empty segment", each(r"/v1/\d+\.m4s", lambda e: with_body(e, b""))),
    (8, "no part target", swap(LL, r"^#EXT-X-PART-INF.*\n", "")),
    (8, "no part hold back", swap(LL, r"PART-HOLD-BACK=[\d.]+,", "")),
    (8, "the part target changes", swap(LL, r"PART-TARGET=[\d.]+", "PART-TARGET=0.6", share=LATE)),
    (8, "the part target differs between renditions", swap(r"/ll/a0\.m3u8", r"PART-TARGET=[\d.]+", "PART-TARGET=0.6")),
    (8, "server control changes", swap(LL, r"CAN-SKIP-UNTIL=24", "CAN-SKIP-UNTIL=30", share=LATE)),
    (8, "server control differs between renditions", swap(r"/ll/v1\.m3u8", r"CAN-SKIP-UNTIL=24", "CAN-SKIP-UNTIL=30")),
    (9, "part hold back under three parts", swap(LL, r"PART-HOLD-BACK=[\d.]+", "PART-HOLD-BACK=1.0")),
    (9, "hold back under three targets", swap(LL, r",HOLD-BACK=[\d.]+", ",HOLD-BACK=8.0")),
    (9, "skip boundary under six targets", swap(LL, r"CAN-SKIP-UNTIL=24", "CAN-SKIP-UNTIL=12")),
    (10, "parts longer than their target", swap(LL, r"PART-TARGET=[\d.]+", "PART-TARGET=0.5")),
    (10, "parts shorter than 85 %", swap(r"/ll/\w+\.m3u8", r"PART-TARGET=[\d.]+", "PART-TARGET=0.9")),
    (11, "a part is missing", text(LL, without_part)),
    (11, "durations of parts are not those of the media", swap(LL, r"DURATION=0\.520000", "DURATION=0.500000")),
    (12, "an independent part does not say so", swap(LL, r",INDEPENDENT=YES", "")),
    (12, "a part is called independent and is not", swap(LL, r'^(#EXT-X-PART:DURATION=0\.52.*part\.m4s")$', r"\1,INDEPENDENT=YES")),
    (13, "no part for two seconds", unseen(LL, 0.3, 2)),
    (14, "no hint", swap(LL, r"^#EXT-X-PRELOAD-HINT.*\n", "")),
    (14, "two hints", swap(LL, r"^(#EXT-X-PRELOAD-HINT.*\n)", r"\1\1")),
    (14, "the hint is not what comes", swap(LL, r'(PRELOAD-HINT:TYPE=PART,URI=".*/)\d+', r"\g<1>1")),
    (14, "a hint after the end", text(LL, lambda b: b + "#EXT-X-ENDLIST\n", share=0.99)),
    (14, "a low-latency playlist ends in a segment", text(LL, without_edge)),
    (15, "no report of another rendition", swap(LL, r'^#EXT-X-RENDITION-REPORT:URI="v1.*\n', "")),
    (15, "reports too far ahead", text(LL, lambda b: re.sub(r"(LAST-MSN=)(\d+)", lambda m: f"{m[1]}{int(m[2]) + 2}", b))),
    (15, "reports too old", text(LL, lambda b: re.sub(r"(LAST-MSN=)(\d+)", lambda m: f"{m[1]}{int(m[2]) - 2}", b))),
    (15, "reports of a wrong part", text(LL, lambda b: re.sub(r"(LAST-PART=)(\d+)", lambda m: f"{m[1]}{int(m[2]) + 2}", b))),
    (16, "a part without its segment is answered", answer(lambda e: e.url.endswith("?_HLS_part=0"), 200)),
    (16, "a number far ahead waits", answer(lambda e: e.status == 400 and BEYOND.search(e.url) is not None, 503)),
    (16, "a part beyond any segment is answered", answer(lambda e: e.url.endswith("_HLS_part=1000"), 200)),
    (16, "a blocking reload does not wait", blocked_without),
    (16, "a blocking reload that is possible is refused", answer(lambda e: at(e, LL) and "_HLS_msn" in e.url, 400, first=1)),
    (16, "a blocking reload is given up early", answer(lambda e: at(e, LL) and "_HLS_msn" in e.url, 503, first=1)),
    (17, "a delta update skips one too many", each(LL, skip_unknown)),
    (17, "a delta update skips what is new", each(LL, skips_too_much)),
    (17, "two skips", delta(r"^(#EXT-X-SKIP.*\n)", r"\1\1")),
    (17, "a delta update of an old version", delta(r"^#EXT-X-VERSION:\d+", "#EXT-X-VERSION:8")),
    (18, "parts far from the end", swap(LL, r"\A((?:.*\n)*?)(#EXTINF)", r'\1#EXT-X-PART:DURATION=0.5,URI="x.m4s"\n\2', share=0.95)),
    (19, "no wall time", swap(HLS, r"^#EXT-X-PROGRAM-DATE-TIME.*\n", "")),
    (19, "wall time jumps", one_moved(HLS)),
    (19, "wall time of a rendition is a second off", moved(AUDIO, 1_000)),
    (19, "wall time of a rendition is 5 ms off", moved(AUDIO, 5)),
    (19, "wall time of segments changes", moved(HLS, 3, share=LATE)),
    (20, "discontinuity numbers differ between renditions", swap(AUDIO, r"(DISCONTINUITY-SEQUENCE:)0", r"\g<1>3")),
    (
        20,
        "a discontinuity where nothing changes",
        swap(HLS, r"^(#EXT-X-PROGRAM.*\n#EXTINF:4.*\n.*\n)(#EXT-X-PROGRAM)", r"\1#EXT-X-DISCONTINUITY\n\2", count=1),
    ),
    (20, "an init segment changes without a discontinuity", swap(HLS, r"^#EXT-X-DISCONTINUITY\n", "")),
    (21, "a gap is taken back", no_gap_any_more),
    (
        21,
        "a 404 may be stored",
        chain(answer(lambda e: e.status == 404, 404), lambda x: [replace(e, headers={}) if e.status == 404 else e for e in x]),
    ),
    (22, "boundaries differ between renditions", moved(OTHER, 300)),
    (22, "lengths differ between renditions", swap(OTHER, r"^#EXTINF:1\.000000", "#EXTINF:1.300000")),
    (23, "a playlist of a wrong type", header(EVERY, content_type="text/plain")),
    (23, "objects of a wrong type", header(r"\.m4s", content_type="text/html")),
    (23, "no compression", header(HLS, content_encoding=None)),
    (23, "no word for caches", header(HLS, cache_control=None)),
    (23, "a live playlist that is kept for a minute", header(HLS, cache_control="public, max-age=60")),
    (23, "a playlist that ends in the middle", each(HLS, lambda e: replace(e, body=e.body[:-30]), share=0.9)),
    (24, "bandwidth below the peak", swap(MULTIVARIANT, r"(:|,)BANDWIDTH=\d+", r"\1BANDWIDTH=9000")),
    (24, "other codecs", swap(MULTIVARIANT, r"avc1\.\w+", "avc1.640028")),
    (24, "no codecs", swap(MULTIVARIANT, r'CODECS="[^"]*",', "")),
    (24, "another resolution", swap(MULTIVARIANT, r"RESOLUTION=\w+", "RESOLUTION=640x360")),
    (24, "another frame rate", swap(MULTIVARIANT, r"FRAME-RATE=[\d.]+", "FRAME-RATE=12.5")),
    (24, "an audio group that does not exist", swap(MULTIVARIANT, r'AUDIO="audio"', 'AUDIO="sound"')),
    (24, "average above peak", swap(MULTIVARIANT, r"AVERAGE-BANDWIDTH=\d+", "AVERAGE-BANDWIDTH=99000000")),
)
