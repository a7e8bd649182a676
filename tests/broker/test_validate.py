"""`finecut validate` finds nothing in what a whole line on a real Kafka serves, while its segments change their length."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from schemas.records import Level
from tests.line import Line, whole_line

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).parents[2]
# What is right is asked here, not what is quick: the machine is busy with the tests themselves.
JITTER_MS = "3000"


@pytest.fixture(scope="module")
def line(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with whole_line(kafka, tmp_path_factory.mktemp("line"), packagers=2, GRANULARITY__HOLD_MS=2_000) as made:
        made.play("chess", idle=Level.PARTS)
        made.goes_on("chess", segments=3)
        yield made


def validate(line: Line, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "infra.cli", "validate", *arguments, "--json", "--jitter-ms", JITTER_MS]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_origin_that_serves_a_channel_of_changing_segments_breaks_no_rule(line: Line) -> None:
    validator = validate(line, f"{line.run.origin_url}/", "--seconds", "16")
    try:
        for turn in range(1_000):
            line.hear()
            if turn < 40:
                line.arrive("chess", 2, prefix=f"turn-{turn}")
            if validator.poll() is not None:
                break
        output, complaint = validator.communicate(timeout=30)
    finally:
        validator.kill()
    assert validator.returncode in {0, 1}, complaint
    told = json.loads(output)
    assert told["findings"] == []
    assert validator.returncode == 0
    assert len(told["playlists"]) == 6
    assert len(told["mpds"]) == 2
    assert told["objects"] > 50
    assert len(line.tally.segment_lengths_s("chess")) > 1


def test_what_is_not_there_is_said_in_one_sentence(line: Line) -> None:
    validator = validate(line, f"{line.run.origin_url}/nobody/hls/multivariant.m3u8")
    output, complaint = validator.communicate(timeout=60)
    assert (validator.returncode, output) == (2, "")
    assert complaint.startswith("error: ")
    assert "answers 404: no channel nobody" in complaint
