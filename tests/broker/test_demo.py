"""The demo as a newcomer starts it, and what its log proves afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.process import started_at
from infra.state import read

ROOT = Path(__file__).parents[2]
Told = tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]]
PROMISED = {
    "chunks_in",
    "segments_out",
    "parts_out",
    "lost",
    "conflicting_objects",
    "discontinuities",
    "decisions",
    "reassignments",
    "takeover_ms",
    "part_latency_ms",
    "assignment_latency_ms",
    "raw_latency_ms",
    "forecast",
    "segment_length_s",
    "viewers",
    "cpu_s",
    "rss_mb",
    "startup_s",
}

READ = ("channels", "gops", "demand", "heartbeats", "forecasts", "reports", "decisions")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def finecut(state_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.cli", *words]
    return subprocess.run(command, cwd=ROOT, env=environment(state_dir), capture_output=True, text=True, check=False, timeout=380)


def environment(state_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINECUT_")}
    return {**kept, "FINECUT_STATE_DIR": str(state_dir)}


@contextmanager
def started(state_dir: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    with (state_dir / "out").open("wb") as out:
        command = [sys.executable, "-m", "infra.cli", *words]
        process = subprocess.Popen(command, cwd=ROOT, env=environment(state_dir), stdout=out, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def status(state_dir: Path) -> dict[str, Any]:
    return dict(json.loads(finecut(state_dir, "status", "--json").stdout))


def live(state_dir: Path) -> dict[str, Any]:
    """What a run says of itself, once all its channels are there."""
    deadline = time.monotonic() + 120
    while len((told := status(state_dir)).get("channels", [])) < 6:
        assert time.monotonic() < deadline, (state_dir / "out").read_text()
    return told


def survivors(state_dir: Path) -> list[str]:
    run = read(state_dir)
    assert run is not None
    return [process.name for process in run.processes if started_at(process.pid) is not None]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A short demo: its folder, what it said, and its summary."""
    state_dir = tmp_path_factory.mktemp("demo")
    file = state_dir / "summary.json"
    ran = finecut(state_dir, "demo", "--seconds", "30", "--viewers", "8", "--summary", str(file))
    assert file.exists(), ran.stdout + ran.stderr
    return state_dir, ran, json.loads(file.read_text())


def test_the_demo_loses_nothing_although_a_packager_is_killed(told: Told) -> None:
    _, ran, summary = told
    assert ran.returncode == 0, ran.stdout
    assert set(summary) >= PROMISED
    assert (summary["lost"], summary["conflicting_objects"], summary["discontinuities"], summary["voids"]) == (0, 0, 0, 0)
    assert summary["reassignments"] >= 1
    assert summary["takeover_ms"] > 0
    assert summary["viewers"]["problems"] == []
    assert summary["viewers"]["sessions"] >= 8
    assert summary["segments_out"] > 0
    assert "watch page: http://127.0.0.1:" in ran.stdout
    assert "is killed with SIGKILL" in " ".join(ran.stdout.split())


def test_the_demo_leaves_no_process_behind(told: Told) -> None:
    assert survivors(told[0]) == []


def test_every_decision_of_the_demo_is_made_again_from_its_log_and_comes_out_equal(told: Told) -> None:
    state_dir, _, summary = told
    ran = finecut(state_dir, "redecide")
    assert (ran.returncode, ran.stderr) == (0, "")
    # Packagers that leave after the summary was made urge a few more.
    count, rest = ran.stdout.split(" ", 1)
    assert (int(count) >= summary["decisions"], rest) == (True, "decisions made again, all equal\n")


def test_a_log_kept_as_lines_is_judged_from_its_middle_told_in_words_and_tried_with_another_policy(told: Told, tmp_path: Path) -> None:
    state_dir, _, _ = told
    lines, policy = tmp_path / "log.jsonl", tmp_path / "other.toml"
    lines.write_text(finecut(state_dir, "replay", *READ).stdout)
    file = ("--file", str(lines))
    whole, rest = (finecut(state_dir, "redecide", *file, *words).stdout.split(" ", 1) for words in ((), ("--from", "5")))
    assert (int(whole[0]), whole[1]) == (int(rest[0]) + 5, rest[1])
    story = finecut(state_dir, "why", "arena", *file).stdout
    assert [word for word in ("plan", "start", "give", "its packager is dead", "people are expected to join") if word not in story] == []
    policy.write_text("[granularity]\nsegment_ms = 1000\n")
    words = ("whatif", "--policy", str(policy), "--packagers", "3", "--json", str(tmp_path / "figures.json"), *file)
    tried = finecut(state_dir, *words)
    assert (tried.returncode, tried.stderr) == (0, "")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["joins"]["measured"] == figures["joins"]["recorded"] > 0
    assert figures["segments"]["other"] > figures["segments"]["recorded"], "segments of a second are more than others"
    assert figures["moves"]["measured"] >= 1


def test_the_log_of_the_demo_is_read_as_lines_tables_and_a_picture(told: Told) -> None:
    state_dir, _, summary = told
    lines = finecut(state_dir, "replay", "decisions", "plans", "--channel", "arena").stdout.splitlines()
    assert {json.loads(line)["topic"] for line in lines} == {"decisions", "plans"}
    rows = json.loads(finecut(state_dir, "replay", "--parquet", str(state_dir / "tables")).stdout)
    assert rows["decisions"] >= summary["decisions"]
    assert rows["media"] >= summary["chunks_in"]
    picture = state_dir / "run.png"
    assert finecut(state_dir, "replay", "--plot", str(picture)).returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_run_tells_its_processes_and_urls_and_ends_with_sigterm(tmp_path: Path) -> None:
    with started(tmp_path, "up", "--packagers", "1") as up:
        run = live(tmp_path)
        assert {process["role"] for process in run["processes"]} == {"kafka", "control", "origin", "packager", "encode"}
        channel = next(channel for channel in run["channels"] if channel["channel"] == "arena")
        assert all(channel[key].startswith("http://127.0.0.1:") for key in ("hls", "ll_hls", "dash"))
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
    assert survivors(tmp_path) == []


def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    with started(tmp_path, "up", "--packagers", "1") as up:
        assert len(live(tmp_path)["processes"]) >= 7
        refused = finecut(tmp_path, "up")
        assert (refused.returncode, f"lives already, as process {up.pid}" in refused.stderr) == (2, True)
        up.kill()
        up.wait()
        deadline = time.monotonic() + 10
        while survivors(tmp_path):
            assert time.monotonic() < deadline, survivors(tmp_path)
