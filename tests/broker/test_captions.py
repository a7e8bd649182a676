"""Text of a source through a whole line: into the log, out as WebVTT and as chunks, and nothing of it breaks a rule."""

import json
import re
import time
from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from infra.local import LiveInput
from schemas.records import Level, Period
from schemas.topics import CHANNELS
from tests.broker.test_validate import validate
from tests.invariants import read_playlist
from tests.line import Line, whole_line
from tests.unit.ingest.subtitled import subtitled

pytestmark = pytest.mark.timeout(180)
CHANNEL = "captioned"
CLIP_S = 10
# One begins with every second; some last into the next segment.
SHOWN = tuple((float(second), second + 0.9, f"second {second}") for second in range(CLIP_S))
CUE = re.compile(r"(\d+):(\d\d):(\d\d\.\d{3}) --> (\d+):(\d\d):(\d\d\.\d{3})\nsecond (\d+)\n")


def cues(line: Line, path: str) -> list[tuple[float, float, int]]:
    """Start, end and number of the cues of every segment or part that a playlist lists."""
    status, playlist = line.get(path)
    assert status == 200
    found = []
    for url in re.findall(r"^(?!#)(\S+\.vtt)$|PART:[^\n]*URI=\"(\S+\.vtt)\"", playlist, re.MULTILINE):
        status, text = line.get(f"/{CHANNEL}/{(url[0] or url[1]).removeprefix('../')}")
        assert status == 200
        assert text.startswith("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n")
        for h, m, s, h2, m2, s2, number in CUE.findall(text):
            found.append((int(h) * 3_600 + int(m) * 60 + float(s), int(h2) * 3_600 + int(m2) * 60 + float(s2), int(number)))
    return found


def test_text_of_a_source_arrives_in_its_time_and_breaks_no_rule(kafka: LocalBroker, tmp_path: Path) -> None:
    source = subtitled(tmp_path, seconds=CLIP_S, shown=SHOWN, size=(320, 180))
    with whole_line(kafka, tmp_path, packagers=1) as line:
        line.run.go_live(LiveInput(name="captions", source=source, channels=(CHANNEL,), idle_level=Level.PARTS))
        line.goes_on(CHANNEL, segments=2)
        validator = validate(line, f"{line.run.origin_url}/", "--seconds", "16")
        try:
            started = time.monotonic()
            line.until(lambda _: time.monotonic() > started + 16, what="end of the watch", timeout_s=60)
            for kind in ("hls", "ll"):
                found = cues(line, f"/{CHANNEL}/{kind}/t0.m3u8")
                assert len({number for _, _, number in found}) >= 5
                for start_s, end_s, number in found:
                    assert number - 0.001 <= start_s % CLIP_S
                    assert (end_s - 0.001) % CLIP_S <= number + 0.9
            text, picture = (read_playlist(line.get(f"/{CHANNEL}/hls/{track}.m3u8")[1]) for track in ("t0", "v0"))
            assert text.first == picture.first
            output, complaint = validator.communicate(timeout=60)
        finally:
            validator.kill()
            validator.wait()
        told = json.loads(output)
        assert told["findings"] == [], (told["findings"], complaint)
        period = next(entry.record for entry in line.entries(CHANNELS) if isinstance(entry.record, Period))
        assert [(t.track, t.is_text, t.language) for t in period.tracks] == [
            ("v0", False, "und"),
            ("a0", False, "und"),
            ("t0", True, "ger"),
        ]
        line.end()
        line.until(lambda _: line.get(f"/{CHANNEL}/0/multivariant.m3u8")[0] == 200, what="finished playlist")
        assert line.tally.rejects == 0
        objects = line.objects()
        kept = re.findall(r"^\.\./(\S+\.vtt)$", objects[f"{CHANNEL}/0/t0.m3u8"].decode(), re.MULTILINE)
        assert kept
        assert all(objects[f"{CHANNEL}/{name}"].startswith(b"WEBVTT\n") for name in kept)
