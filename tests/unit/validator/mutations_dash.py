"""Defects of DASH, plain and low latency: (rule, what is wrong, how good output is spoiled)."""

import re
from dataclasses import replace

from infra.validator.recording import Exchange
from tests.unit.validator.edits import Edit, Exchanges, answer, at, swap, text

MPD, LL_MPD = r"/dash/manifest\.mpd", r"/ll/manifest\.mpd"
LATE = 0.6
PERIOD = r'(<Period id="\d+" start="PT)([\d.]+)S'


def entries(body: str) -> list[re.Match[str]]:
    return list(re.finditer(r'<S t="(\d+)" d="(\d+)"/>', body))


def all_of_one(pattern: str, which: int, *, time: int = 0, length: int = 0, share: float = 0.0) -> Edit:
    """Change one entry of the first timeline, known by its time, in every look."""

    def apply(exchanges: Exchanges) -> Exchanges:
        own = [e for e in exchanges if at(e, pattern)]
        match = entries(own[int(share * len(own))].body.decode())[which]
        new = f'<S t="{int(match[1]) + time}" d="{int(match[2]) + length}"/>'
        return text(pattern, lambda b: b.replace(match[0], new, 1), share=share)(exchanges)

    return apply


def open_length(exchanges: Exchanges) -> Exchanges:
    """The open segment of an early look is announced too long, in every look."""
    own = [e for e in exchanges if at(e, LL_MPD)]
    body = own[len(own) // 4].body.decode()
    period = body[: body.index("</AdaptationSet>")]
    match = entries(period)[-1]
    new = f'<S t="{match[1]}" d="{int(match[2]) * 2}"/>'
    return text(LL_MPD, lambda b: b.replace(match[0], new, 1))(exchanges)


def without_entry(body: str) -> str:
    match = entries(body)[2]
    return body[: match.start()] + body[match.end() :]


def numbered(body: str) -> str:
    """$Number$ that always begins at 1, though the head is dropped."""
    return body.replace("$Time$", "$Number$")


def simple(body: str) -> str:
    """Every segment is said to be as long as one GOP."""
    without = re.sub(r"<SegmentTimeline>.*?</SegmentTimeline>", "", body, flags=re.DOTALL)
    return without.replace("<SegmentTemplate ", '<SegmentTemplate duration="130000" ')


def own_template(body: str) -> str:
    """The second video representation has a timeline of its own that is cut elsewhere."""
    found = re.search(r"<SegmentTemplate.*?</SegmentTemplate>", body, re.DOTALL)
    assert found is not None
    match = entries(found[0])[0]
    other = found[0].replace(match[0], f'<S t="{match[1]}" d="{int(match[2]) - 10}"/>', 1)
    return re.sub(r'(<Representation id="v1"[^>]*)/>', lambda m: f"{m[1]}>{other}</Representation>", body)


def swapped(body: str) -> str:
    return re.sub(r'(<Representation id="v0"[^\n]*\n)(<Representation id="v1"[^\n]*\n)', r"\2\1", body)


def published(hour: str) -> Edit:
    return swap(MPD, r'publishTime="[^"]*"', f'publishTime="{hour}"')


def slow_start(exchanges: Exchanges) -> Exchanges:
    """Segments that are announced while they grow begin to come three seconds later."""
    names = {m for e in exchanges if at(e, LL_MPD) for m in re.findall(r't="(\d+)"', e.body.decode())}

    def late(e: Exchange) -> Exchange:
        return replace(e, first_ms=e.first_ms + 3_000, done_ms=e.done_ms + 3_000)

    is_open = {e.url for e in exchanges if at(e, r"/\d+\.m4s") and e.place.rpartition("/")[2].removesuffix(".m4s") in names}
    return [late(e) if e.url in is_open else e for e in exchanges]


def not_there(exchanges: Exchanges) -> Exchanges:
    """Nothing but the MPD is asked for, and a segment that it lists is not there."""
    own = [e for e in exchanges if not e.place.endswith(".m3u8")]
    body = next(e for e in own if at(e, MPD)).body.decode()
    time = entries(body[: body.index("</SegmentTemplate>")])[-1][1]
    name = f"/v0/{time}.m4s"
    return answer(lambda e: e.place.endswith(name), 404)(own)


PLAIN_MUTATIONS: tuple[tuple[int, str, Edit], ...] = (
    (25, "availability start changes", swap(MPD, r'(availabilityStartTime="\d{3})\d', r"\g<1>9", share=LATE)),
    (25, "a period's start changes", swap(MPD, r'(<Period id="\d+" start="PT)', r"\g<1>1", share=LATE)),
    (25, "representations change their order", text(MPD, swapped, share=LATE)),
    (25, "a representation changes its id", swap(MPD, r'id="v1"', 'id="v2"', share=LATE)),
    (25, "no clock", swap(MPD, r"<UTCTiming[^>]*/>", "")),
    (25, "the clock does not answer", answer(lambda e: at(e, "/time"), 503)),
    (25, "publish time stands still", published("2026-01-01T00:00:00Z")),
    (25, "publish time falls", swap(MPD, r'publishTime="[^"]*"', 'publishTime="2020-01-01T00:00:00Z"', share=LATE)),
    (25, "no well-formed MPD", text(MPD, lambda b: b.replace("</Period>", ""))),
    (26, "a hole in a timeline", all_of_one(MPD, 1, time=10)),
    (26, "lengths are not those of the samples", all_of_one(MPD, 1, length=-10)),
    (26, "a duration beside the timeline", swap(MPD, r"<SegmentTemplate ", '<SegmentTemplate duration="100" ')),
    (26, "another timescale", swap(MPD, r'timescale="25000"', 'timescale="90000"')),
    (26, "an entry that repeats for ever", swap(MPD, r'(<S t="\d+" d="\d+")/>(?=\n</SegmentTimeline>)', r'\1 r="-1"/>')),
    (27, "an entry is edited", all_of_one(MPD, 5, length=-1000, share=LATE)),
    (27, "an entry leaves the middle", text(MPD, without_entry, share=LATE)),
    (27, "entries stay long after they expired", swap(MPD, r'timeShiftBufferDepth="[^"]*"', 'timeShiftBufferDepth="PT2S"')),
    (28, "segments are not said to be aligned", swap(MPD, r' segmentAlignment="true"', "")),
    (28, "boundaries differ within a set", text(MPD, own_template)),
    (28, "numbers change their times", text(MPD, numbered)),
    (29, "edges far from where the numbers say", text(MPD, simple)),
    (30, "the longest segment is longer than said", swap(MPD, r'maxSegmentDuration="[^"]*"', 'maxSegmentDuration="PT1S"')),
    (30, "less is listed than the depth promises", swap(MPD, r'timeShiftBufferDepth="[^"]*"', 'timeShiftBufferDepth="PT5M"')),
    (30, "a listed segment is not there", not_there),
)
LOW_LATENCY_MUTATIONS: tuple[tuple[int, str, Edit], ...] = (
    (31, "no availability offset", swap(LL_MPD, r' availabilityTimeOffset="[^"]*"', "", count=1)),
    (31, "the availability offset changes", swap(LL_MPD, r'(availabilityTimeOffset=")[^"]*', r"\g<1>2.5", share=LATE)),
    (31, "segments are said to be complete", swap(LL_MPD, r' availabilityTimeComplete="false"', "")),
    (31, "no service description", swap(LL_MPD, r"<ServiceDescription.*</ServiceDescription>", "")),
    (31, "no latency", swap(LL_MPD, r"<Latency[^>]*/>", "")),
    (31, "no producer reference time", swap(LL_MPD, r"<ProducerReferenceTime.*</ProducerReferenceTime>\n?", "")),
    (31, "two producer reference times of one name", swap(LL_MPD, r'(<ProducerReferenceTime id=")\d+', r"\g<1>1")),
    (31, "first bytes come late", slow_start),
    (31, "a segment is listed before it begins", swap(LL_MPD, PERIOD, r"\g<1>9\g<2>S")),
    (32, "the open segment is announced too long", open_length),
)
DASH_MUTATIONS = PLAIN_MUTATIONS + LOW_LATENCY_MUTATIONS
