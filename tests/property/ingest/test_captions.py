"""Any cues, cut at any chunks, read back as the same cues."""

import re
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from packager import webvtt
from schemas.units import Ticks
from streams.ingest.cmaf import build_chunk
from streams.ingest.samples import Sample
from streams.ingest.text import cut_samples, init_segment, make_cue

SCALE = 1_000
INIT = init_segment(SCALE, "und")
TIMES = re.compile(r"(\d+):(\d\d):(\d\d)\.(\d{3}) --> (\d+):(\d\d):(\d\d)\.(\d{3})\n(.*)", re.DOTALL)
SPANS = st.lists(st.tuples(st.integers(0, 9_000), st.integers(1, 4_000)), max_size=12)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8)


def read(text: str) -> list[tuple[int, int, str]]:
    """The cues of a WebVTT file: start, end, words; a reader that knows nothing of how it was made."""
    head, *blocks = text.rstrip("\n").split("\n\n")
    assert head.splitlines()[0] == "WEBVTT"
    found = []
    for block in blocks:
        match = TIMES.fullmatch(block)
        assert match, block
        start, end = (sum(int(n) * unit for n, unit in zip(four, (3_600_000, 60_000, 1_000, 1), strict=True)) for four in
                      (match.groups()[:4], match.groups()[4:8]))  # fmt: skip
        words = match[9].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        found.append((start, end, words))
    return found


@given(spans=SPANS, words=WORDS, cuts=st.sets(st.integers(1, 13_999), max_size=40), segments=st.sets(st.integers(0, 40), max_size=6))
def test_cues_cut_at_any_chunks_and_segments_are_the_same_cues(
    spans: list[tuple[int, int]], words: str, cuts: set[int], segments: set[int]
) -> None:
    shown = {}
    for number, (start, length) in enumerate(spans):
        made = make_cue(Fraction(start, SCALE), Fraction(start + length, SCALE), f"{number} {words}")
        assert made is not None
        shown[" ".join(f"{number} {words}".split())] = (start, start + length, made.box)
    instants = sorted({0, 14_000, *cuts})
    texts, held = [], b""
    for index, (start, end) in enumerate(pairwise(instants)):
        samples = list(cut_samples(list(shown.values()), start, end))
        assert sum(duration for duration, _ in samples) == end - start
        held += build_chunk(
            [Sample(Ticks(start), data, sync=True) for _, data in samples], track_id=1, index=index, start_ticks=Ticks(start),
            frame_ticks=Ticks(1), durations=[duration for duration, _ in samples],
        )  # fmt: skip
        if index in segments or end == instants[-1]:
            texts.append(read(webvtt.render(held, INIT).decode()))
            held = b""
    joined: dict[str, tuple[int, int]] = {}
    for text in texts:
        assert text == sorted(text, key=lambda item: item[:1])
        for start, end, said in text:
            before = joined.get(said)
            assert before is None or before[1] == start
            joined[said] = (before[0] if before else start, end)
    assert joined == {said: (start, end) for said, (start, end, _) in shown.items()}
