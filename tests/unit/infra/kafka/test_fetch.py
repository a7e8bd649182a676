"""Only the pinned bytes become jars."""

import hashlib
from pathlib import Path

import pytest

from infra.kafka import DownloadError, fetch
from infra.kafka.fetch import Jar, ensure_jars, kafka_jars

GOOD = b"the pinned content"


def jar(name: str) -> Jar:
    return Jar(group="g", artifact=name, version="1", sha256=hashlib.sha256(GOOD).hexdigest())


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What a made-up repository serves, by file name; two jars are pinned."""
    served = {"kafka_x-1.jar": GOOD, "other-1.jar": GOOD}

    def download(wanted: Jar, scratch: Path) -> Path:
        path = scratch / wanted.name
        path.write_bytes(served[wanted.name])
        return path

    monkeypatch.setattr(fetch, "_download", download)
    monkeypatch.setattr(fetch, "kafka_jars", lambda: (jar("kafka_x"), jar("other")))
    return served


def test_every_coordinate_has_a_checksum_and_every_checksum_a_coordinate() -> None:
    assert len(kafka_jars()) == len(fetch.CHECKSUMS.read_text().splitlines()) == 46


@pytest.mark.usefixtures("repository")
def test_missing_jars_are_fetched_and_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    jars = ensure_jars(tmp_path, lambda have, wanted: told.append((have, wanted)))
    assert sorted(path.name for path in jars.iterdir() if path.is_file() and path.suffix) == ["kafka_x-1.jar", "other-1.jar"]
    assert told == [(1, 2), (2, 2)]


def test_what_is_here_and_intact_is_not_fetched_again(tmp_path: Path, repository: dict[str, bytes]) -> None:
    ensure_jars(tmp_path)
    repository.clear()
    ensure_jars(tmp_path)


@pytest.mark.usefixtures("repository")
def test_a_damaged_jar_is_replaced_and_a_stranger_removed(tmp_path: Path) -> None:
    jars = ensure_jars(tmp_path)
    (jars / "other-1.jar").write_bytes(b"half")
    (jars / "older-0.jar").write_bytes(b"would be on the class path")
    ensure_jars(tmp_path)
    assert (jars / "other-1.jar").read_bytes() == GOOD
    assert not (jars / "older-0.jar").exists()


def test_other_bytes_than_pinned_are_refused_and_the_rest_is_kept(tmp_path: Path, repository: dict[str, bytes]) -> None:
    repository["other-1.jar"] = b"something else"
    with pytest.raises(DownloadError, match=r"other-1[.]jar has sha256"):
        ensure_jars(tmp_path)
    assert [path.name for path in tmp_path.rglob("*.jar")] == ["kafka_x-1.jar"]
