"""The command line as people meet it: quick help, and mistakes told in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.state import Process, Run, read, write

SCENARIOS = Path(__file__).parents[3] / "streams" / "simulate" / "scenarios"
COMMANDS = (
    "demo",
    "up",
    "status",
    "doctor",
    "encode",
    "record",
    "end",
    "control",
    "packager",
    "origin",
    "sweep",
    "audience",
    "rawlatency",
    "replay",
    "redecide",
    "why",
    "whatif",
    "topics",
    "schemas",
)


def finecut(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINECUT_")}
    root = str(Path(__file__).parents[3])
    return subprocess.run(
        [sys.executable, "-m", "infra.cli", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**kept, "PYTHONPATH": root, **environment},
        check=False,
        timeout=60,
    )


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys, infra.cli; print([name for name in ('faust', 'av', 'river', 'pydantic', 'confluent_kafka') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == "[]"
    shown = finecut("--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert [name for name in COMMANDS if name not in shown.stdout] == []


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        (("topics", "verify"), {}, "no Kafka cluster is named"),
        (("control",), {}, "no Kafka cluster is named"),
        (("encode", "x.mp4", "--channel", "a"), {}, "no Kafka cluster is named"),
        (("topics", "create"), {"FINECUT_KAFKA__POOL_COUNT": "0"}, "FINECUT_KAFKA__POOL_COUNT"),
        (("topics", "create"), {"FINECUT_KAFKA__POOLS": "1"}, "FINECUT_KAFKA__POOLS"),
        (("replay", "plants"), {}, "no topic is called plants"),
        (("replay", "--from", "yesterday"), {}, "'yesterday' names no place in the log"),
        (("schemas", "check", "nowhere"), {}, "no .avsc file in nowhere"),
        (("simulate", str(SCENARIOS / "day.toml")), {}, "set FINECUT_DATA to the folder of recorded series"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_without_a_traceback(
    tmp_path: Path, words: tuple[str, ...], environment: dict[str, str], told: str
) -> None:
    ended = finecut(*words, cwd=tmp_path, **environment)
    assert ended.returncode == 2
    assert f"error: {ended.stderr.split('error: ', 1)[1]}" == ended.stderr
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


SERVED = """
import sys
from infra import cli
cli.SERVE_S = 0.3
for words in (["origin"], ["packager", "--pool", "0"], ["ingest"], ["control"], ["topics", "create"]):
    sys.argv = ["finecut", *words]
    try:
        cli.main()
    except SystemExit as ended:
        print("ended with", ended.code, file=sys.stderr)
"""


def test_whoever_finds_no_kafka_says_so_in_the_same_words_and_ends(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINECUT_")}
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "FINECUT_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    ended = subprocess.run(
        [sys.executable, "-c", SERVED], capture_output=True, text=True, cwd=tmp_path, env=kept | environment, check=True, timeout=60
    )
    lines = ended.stderr.splitlines()
    assert len(lines) == 15
    assert [line.partition(":9:")[0] for line in lines[::3]] == ["error: no Kafka answers at 127.0.0.1"] * 5
    assert {line.partition("or ")[2] for line in lines[1::3]} == {"correct FINECUT_KAFKA__BOOTSTRAP_SERVERS"}
    assert lines[2::3] == ["ended with 1"] * 5


def test_nothing_running_is_told_to_people_and_programs(tmp_path: Path) -> None:
    assert finecut("status", "--json", cwd=tmp_path).stdout == '{\n  "running": false\n}\n'
    assert finecut("status", cwd=tmp_path).returncode == 1


def test_word_of_a_run_comes_back_and_a_dead_one_is_known_as_such(tmp_path: Path) -> None:
    process = Process(name="origin", pid=1, role="origin", log="x.log")
    run = Run(
        run_id="r",
        pid=os.getpid(),
        started_at=1,
        directory="d",
        environment={"A": "b"},
        addresses={"origin": "http://x"},
        processes=(process,),
    )
    write(tmp_path, run)
    assert read(tmp_path) == run
    assert not run.is_alive
