"""A policy file over a policy: what is wrong is refused with the line and what was expected."""

from pathlib import Path

import pytest

from schemas.errors import UserError
from streams.core.policy import Policy
from streams.replay.policies import differences, read_policy

BASE = Policy(granularity=Policy().granularity.model_copy(update={"hold_ms": 3_000}))


def policy(folder: Path, text: str) -> Policy:
    path = folder / "other.toml"
    path.write_text(text)
    return read_policy(path, BASE)


def test_what_a_file_says_replaces_what_was_and_nothing_else_does(tmp_path: Path) -> None:
    made = policy(tmp_path, '[granularity]\nwait_price_cores = 1 # a core\n\n[assignment]\nstrategy = "round_robin"\n')
    assert differences(BASE, made) == ["assignment.strategy: least_loaded -> round_robin", "granularity.wait_price_cores: 0.02 -> 1.0"]
    assert made.granularity.hold_ms == 3_000


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            "[granularity]\nhold_ms = 1\nhold = 2\n",
            3,
            r"granularity\.hold: there is no such key \(did you mean hold_ms\?\); expected one of",
        ),
        ("[granularty]\nhold_ms = 1\n", 1, r"granularty: expected a section: .*\[granularity\].*did you mean granularity\?"),
        ("# hold\nhold_ms = 1\n", 2, r"hold_ms: expected a section"),
        (
            '[granularity]\n\nhold_ms = "30 s"\n',
            3,
            r"hold_ms: expected a valid integer, in milliseconds, not '30 s' \(default 8000: A length",
        ),
        ("[granularity]\nhold_ms = true\n", 2, "expected a valid integer"),
        ("[granularity]\nhold_ms = 1.5\n", 2, "expected a valid integer"),
        ("[granularity]\nphi = 1.5\n", 2, r"phi: expected less than or equal to 1, not 1\.5"),
        ("[granularity]\nhold_ms = -1\n", 2, "greater than or equal to 0, in milliseconds, not -1"),
        ("[granularity]\nhold_ms = 2026-01-01\n", 2, "expected a valid integer"),
        ('[assignment]\nstrategy = "best"\n', 2, r"strategy: expected 'least_loaded', 'round_robin'"),
        ("[liveness]\ndead_after_ms = 100\n", 1, r"\[liveness\]: dead_after_ms must outlast suspicion"),
        ("liveness.dead_after_ms = 0\n", 1, "liveness.dead_after_ms: expected greater than 0"),
    ],
)
def test_a_wrong_key_unit_range_or_relation_is_refused_with_its_line_and_what_was_expected(
    tmp_path: Path, text: str, line: int, told: str
) -> None:
    with pytest.raises(UserError, match=rf"other\.toml, line {line}: .*{told}"):
        policy(tmp_path, text)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)line 2: .*line 4: "):
        policy(tmp_path, "[granularity]\nphi = 2\n[scaling]\nstartup = 1\n")


@pytest.mark.parametrize(("text", "told"), [("[granularity\n", "line 1"), ("", "changes nothing")])
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        policy(tmp_path, text)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as text"):
        read_policy(tmp_path, BASE)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read as text"):
        read_policy(tmp_path / "bytes", BASE)
