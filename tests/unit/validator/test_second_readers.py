"""Other people's parsers read the recorded output of the line, and see in it what the validator sees."""

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import m3u8
import pytest
from mpegdash.parser import MPEGDASHParser

from infra.validator.evidence import Evidence, Run
from infra.validator.recording import Exchange, load

GOOD = Path(__file__).with_name("good.xz")
PLAYERS = Path(__file__).parents[2] / "players"
NODE = pytest.mark.skipif(
    shutil.which("node") is None or not (PLAYERS / "node_modules" / "stamp").exists(), reason="needs Node.js and `make browser`"
)


@pytest.fixture(scope="module")
def good() -> list[Exchange]:
    return load(GOOD)


@pytest.fixture(scope="module")
def evidence(good: list[Exchange]) -> Evidence:
    return Evidence(good)


@pytest.fixture(scope="module")
def bodies(good: list[Exchange]) -> dict[str, bytes]:
    """The last whole answer of every URL."""
    return {e.place: e.body for e in good if e.status == 200 and e.method == "GET" and b"#EXT-X-SKIP" not in e.body}


def texts(bodies: dict[str, bytes], suffix: str) -> dict[str, str]:
    return {url: body.decode() for url, body in bodies.items() if url.endswith(suffix)}


def runs(evidence: Evidence) -> list[Run]:
    """Unbroken media of each track, as the plain playlists name them."""
    return [run for run in evidence.runs() if "/hls/" in run.name]


def node(script: str, given: object, folder: Path) -> Any:
    file = folder / "given.json"
    file.write_text(json.dumps(given))
    answer = subprocess.run(["node", PLAYERS / script, file], check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def test_m3u8_reads_every_playlist(bodies: dict[str, bytes], evidence: Evidence) -> None:
    playlists = texts(bodies, ".m3u8")
    assert len(playlists) == 8
    for url, text in playlists.items():
        read = m3u8.loads(text, uri=url)
        if url in evidence.multivariants:
            assert [p.absolute_uri for p in read.playlists] == [v.url for v in evidence.multivariants[url][-1].content.variants]
            continue
        own = next(look for look in reversed(evidence.playlists[url]) if not look.is_delta).content
        assert (read.media_sequence, read.target_duration) == (own.first_msn, own.target_s)
        listed = [s for s in read.segments if s.uri]
        assert [(s.absolute_uri, s.duration) for s in listed] == [(s.url, s.duration_s) for s in own.segments]
        assert sum(len(s.parts) for s in read.segments) == sum(len(s.parts) for s in own.segments) + len(own.open_parts)


def test_mpegdash_reads_both_mpds(bodies: dict[str, bytes], evidence: Evidence) -> None:
    mpds = texts(bodies, ".mpd")
    assert len(mpds) == 2
    for url, text in mpds.items():
        read, own = MPEGDASHParser.parse(text), evidence.mpds[url][-1].content
        assert [p.id for p in read.periods] == [p.id for p in own.periods]
        for theirs, period in zip(read.periods, own.periods, strict=True):
            assert [r.id for s in theirs.adaptation_sets for r in s.representations] == [r.key[2] for r in period.representations]


def test_ffmpeg_decodes_every_segment_by_itself(bodies: dict[str, bytes], evidence: Evidence) -> None:
    decoded = 0
    for run in runs(evidence):
        for url in run.urls[:: max(1, len(run.urls) // 4)]:
            with av.open(io.BytesIO(bodies[evidence.init_of[url]] + bodies[url]), "r") as container:
                frames = len(list(container.decode(container.streams[0])))
            assert frames == sum(len(chunk.flags_sync) for chunk in evidence.media[url].chunks), url
            decoded += 1
    assert decoded > 10


@NODE
def test_hls_parser_and_mpd_parser_read_every_manifest(bodies: dict[str, bytes], evidence: Evidence, tmp_path: Path) -> None:
    manifests = texts(bodies, ".m3u8") | texts(bodies, ".mpd")
    found = node("read.mjs", manifests, tmp_path)
    for url, looks in evidence.playlists.items():
        own = next(look for look in reversed(looks) if not look.is_delta).content
        parts = sum(len(s.parts) for s in own.segments) + len(own.open_parts)
        assert (found[url]["segments"], found[url]["parts"], found[url]["hints"]) == (len(own.segments), parts, len(own.hints))
    for url in evidence.mpds:
        assert found[url]["representations"] == 2


@NODE
def test_mp4box_reads_the_samples_that_were_announced(bodies: dict[str, bytes], evidence: Evidence, tmp_path: Path) -> None:
    encoded: Callable[[str], str] = lambda url: base64.b64encode(bodies[url]).decode()  # noqa: E731
    tracks = {
        f"{number} {run.name}": [encoded(u) for u in (evidence.init_of[run.urls[0]], *run.urls)]
        for number, run in enumerate(runs(evidence))
    }
    found = node("boxes.mjs", tracks, tmp_path)
    for number, run in enumerate(runs(evidence)):
        read, init = found[f"{number} {run.name}"], evidence.inits[evidence.init_of[run.urls[0]]]
        chunks = [chunk for url in run.urls for chunk in evidence.media[url].chunks]
        assert read["timescale"] == init.timescale
        assert read["codec"].startswith(init.codec)
        assert [sample[3] for sample in read["samples"]] == [flag for chunk in chunks for flag in chunk.flags_sync]
        assert sum(sample[1] for sample in read["samples"]) == sum(chunk.duration for chunk in chunks)
        assert read["samples"][0][0] == chunks[0].start
