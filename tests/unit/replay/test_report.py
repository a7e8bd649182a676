"""The picture of a run."""

from pathlib import Path

import pytest

from schemas.errors import UserError
from streams.replay.report import draw
from tests.unit.replay.logs import a_log


def test_a_log_is_drawn_to_an_image(tmp_path: Path) -> None:
    file = tmp_path / "run.svg"
    draw(a_log(), file)
    told = file.read_text()
    assert told.count("<!-- a packager is declared dead -->") == 4, "once in the legend of each panel"
    assert "<!-- waiting slices -->" not in told, "what never happened has no panel"
    assert [word for word in ("news in 5 s, p90", "wanted", "heard of", "p1", "p2") if f"<!-- {word} -->" not in told] == []


def test_nothing_to_draw_and_nowhere_to_draw_to_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to draw"):
        draw([], tmp_path / "run.png")
    with pytest.raises(UserError, match="cannot draw to"):
        draw(a_log(), tmp_path / "nowhere" / "run.png")
