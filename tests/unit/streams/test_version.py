"""The version that decisions name."""

from pathlib import Path

from streams.version import digest


def test_any_change_of_a_source_is_another_version_and_its_place_is_not(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "core").mkdir(parents=True)
        (tmp_path / name / "core" / "decide.py").write_text("NOW = 1\n")
    first, second = tmp_path / "one", tmp_path / "two"
    assert digest(first) == digest(second)
    (second / "core" / "__pycache__").mkdir()
    (second / "core" / "__pycache__" / "decide.pyc").write_bytes(b"cached")
    assert digest(first) == digest(second)
    (second / "core" / "decide.py").write_text("NOW = 2\n")
    assert digest(first) != digest(second)
    (second / "core" / "decide.py").rename(second / "decide.py")
    assert digest(first) != digest(second)
