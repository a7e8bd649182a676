"""The README says what the code says."""

import re

from infra.documentation import README, filled
from schemas.topics import TOPICS

MAKEFILE = README.parent / "Makefile"


def test_the_tables_of_settings_and_topics_are_those_of_the_code() -> None:
    text = README.read_text()
    assert filled(text) == text, "run `python -m infra.documentation`"


def test_nothing_is_left_to_be_filled_in() -> None:
    text = README.read_text()
    assert "@@" not in text
    assert all((README.parent / path).exists() for path in re.findall(r"\]\(([a-zA-Z][^):]*)\)", text))


def test_every_verb_of_make_that_the_readme_names_exists() -> None:
    verbs = set(re.findall(r"^([a-z-]+):", MAKEFILE.read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README.read_text(), re.MULTILINE))
    assert named
    assert named <= verbs


def test_no_other_file_spells_the_name_of_a_topic() -> None:
    spelled = re.compile(r"[\"']finecut\.(" + "|".join(topic.title for topic in TOPICS) + r")[\"']")
    for folder in ("streams", "packager", "infra"):
        for path in (README.parent / folder).rglob("*.py"):
            code = re.sub(r"(?m)^\s*(>>>|\.\.\.).*$", "", path.read_text())
            assert not spelled.search(code), path
