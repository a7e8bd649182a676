"""The edge of a channel on a whole line: the open segment arrives while it is made, and what has ended plays from the store."""

import io
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import httpx
import pytest

from infra.kafka import LocalBroker
from infra.process import spawn, terminate
from schemas.records import Level
from schemas.timeline import PART_SUFFIX
from tests.line import WAIT_S, Line, whole_line

pytestmark = pytest.mark.timeout(240)
TARGET_S = 4.0
S = re.compile('<S t="([0-9]+)" d="([0-9]+)"/>')


@pytest.fixture(scope="module")
def line(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """One channel in long segments."""
    with whole_line(kafka, tmp_path_factory.mktemp("edge"), packagers=1) as made:
        made.play("edge", idle=Level.PARTS)
        made.goes_on("edge", segments=1)
        yield made


def test_bytes_of_the_open_segment_arrive_while_it_is_made(line: Line) -> None:
    with httpx.Client(base_url=line.run.origin_url, timeout=30) as http:
        listed = S.findall(http.get("/edge/dash/manifest.mpd").text.partition("</AdaptationSet>")[0])
        next_tick = sum(map(int, listed[-1]))
        # It is announced while it is open, with its whole length, and waited for if it has not begun.
        began = time.monotonic()
        pieces: list[tuple[float, int]] = []
        with http.stream("GET", f"/edge/0/v0/{next_tick}.m4s") as answer:
            assert answer.status_code == 200
            assert "content-length" not in answer.headers
            opened = S.findall(http.get("/edge/ll/manifest.mpd").text.partition("</AdaptationSet>")[0])
            body = bytearray()
            for data in answer.iter_bytes():
                pieces.append((time.monotonic() - began, len(data)))
                body += data
        assert (str(next_tick), listed[-1][1]) in opened  # four seconds each
        first_s, last_s = pieces[0][0], pieces[-1][0]
        # Eight parts of half a second: the first comes three seconds before the last.
        assert last_s - first_s >= TARGET_S - 1.5
        assert len(pieces) >= 6
        line.goes_on("edge", segments=1)
        whole = http.get(f"/edge/0/v0/{next_tick}.m4s")
        assert whole.content == bytes(body)
        assert int(whole.headers["content-length"]) == len(body)


def test_a_segment_that_was_never_announced_is_not_waited_for(line: Line) -> None:
    began = time.monotonic()
    assert line.get("/edge/0/v0/77777777.m4s")[0] == 404
    assert line.get(f"/edge/0/v0/77777777{PART_SUFFIX}")[0] == 404
    assert time.monotonic() - began < 2


def test_asking_for_the_low_latency_mpd_of_a_channel_that_is_off_raises_it_to_parts(line: Line) -> None:
    line.play("quiet", idle=Level.OFF)
    line.until(lambda tally: ("quiet", 0) in tally.periods, what="period of the channel")
    began = time.monotonic()
    answers: list[int] = []
    while answers[-1:] != [200] and time.monotonic() - began < WAIT_S:
        status, text = line.get("/quiet/ll/manifest.mpd", timeout_s=30)  # held while it starts; then told to come back
        answers.append(status)
    assert set(answers[:-1]) <= {404, 503}
    assert 'availabilityTimeComplete="false"' in text
    line.until(lambda tally: any(plan.level is Level.PARTS for plan in tally.plans["quiet"]), what="level of parts")


def test_a_channel_that_ended_plays_from_the_store_by_a_server_of_static_files(line: Line) -> None:
    line.goes_on("edge", segments=1)
    line.end()
    folder = line.run.settings.store.directory
    line.until(lambda _: (folder / "edge/0/manifest.mpd").is_file(), what="finished manifests", timeout_s=WAIT_S)
    lengths = [float(length) for length in re.findall("#EXTINF:([0-9.]+)", (folder / "edge/0/v0.m3u8").read_text())]
    assert len(lengths) >= 3
    wanted = pytest.approx(25 * sum(lengths), abs=2)
    with static_server(folder) as url:
        assert frames(f"{url}/edge/0/multivariant.m3u8") == wanted
        # PyAV reads no MPD: this one is expanded by hand, and what it names is fetched.
        text = read(f"{url}/edge/0/manifest.mpd").decode()
        assert 'type="static"' in text
        video = text.partition("</AdaptationSet>")[0].replace("$RepresentationID$", "v0")
        names = [re.search(f'{what}="([^"]+)"', video) for what in ("initialization", "media")]
        init, media = (name[1] for name in names if name)
        paths = [init, *(media.replace("$Time$", start) for start, _ in S.findall(video))]
        assert frames(io.BytesIO(b"".join(read(f"{url}/edge/0/{path}") for path in paths))) == wanted


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - of a server that was started here
        return bytes(answer.read())


def frames(source: str | io.BytesIO) -> int:
    """Pictures that the smaller video of a presentation has."""
    with av.open(source, "r") as played:
        video = next(stream for stream in played.streams.video if stream.width == 640)
        return sum(1 for _ in played.decode(video))


@contextmanager
def static_server(folder: Path) -> Iterator[str]:
    """Address of a server of the standard library that serves a folder."""
    server = spawn([sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        said = server.stdout.readline().decode()
        port = re.search("port ([0-9]+)", said)
        assert port, said
        url = f"http://127.0.0.1:{port[1]}"
        assert read(url)
        yield url
    finally:
        terminate(server, timeout_s=5)
        if server.stdout is not None:
            server.stdout.close()
