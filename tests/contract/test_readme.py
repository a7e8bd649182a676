"""The README, and the tables beside it, say what the code says."""

import re
from pathlib import Path

import pytest

from infra.documentation import MADE, MEASURED, README, SETTINGS, filled
from schemas.topics import TOPICS

MAKEFILE = README.parent / "Makefile"


@pytest.mark.parametrize("document", MADE, ids=lambda path: path.name)
def test_what_is_made_from_the_code_is_as_in_the_code(document: Path) -> None:
    assert filled(document) == document.read_text(), "run `python -m infra.documentation`"


@pytest.mark.parametrize("document", [README, SETTINGS, MEASURED], ids=lambda path: path.name)
def test_every_file_that_is_pointed_to_exists_and_nothing_is_left_to_be_filled_in(document: Path) -> None:
    text = document.read_text()
    assert "@@" not in text
    assert all((document.parent / path).exists() for path in re.findall(r"\]\(([a-zA-Z.][^):#]*)(?:#[a-z-]*)?\)", text))


@pytest.mark.parametrize("document", [README, MEASURED], ids=lambda path: path.name)
def test_every_verb_of_make_that_is_named_exists(document: Path) -> None:
    verbs = set(re.findall(r"^([a-z-]+):", MAKEFILE.read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(), re.MULTILINE))
    assert named
    assert named <= verbs


def test_every_place_in_the_readme_that_it_points_to_is_there() -> None:
    text = README.read_text()
    places = {re.sub(r"[^a-z -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^##+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", text)) <= places


def test_no_other_file_spells_the_name_of_a_topic() -> None:
    spelled = re.compile(r"[\"']finecut\.(" + "|".join(topic.title for topic in TOPICS) + r")[\"']")
    for folder in ("streams", "packager", "infra"):
        for path in (README.parent / folder).rglob("*.py"):
            code = re.sub(r"(?m)^\s*(>>>|\.\.\.).*$", "", path.read_text())
            assert not spelled.search(code), path
