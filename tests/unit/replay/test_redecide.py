"""Recorded decisions made again: equal, from any place, and told apart when they are not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError
from schemas.records import Decision
from schemas.topics import DECISIONS, DEMAND
from schemas.units import UnixMs
from streams.replay.entries import Entry
from streams.replay.positions import Offset, Position, Time
from streams.replay.redecide import BROKEN, OVERTAKEN, POLICY, TOO_OLD, Verdict, redecide_log
from streams.replay.sources import FileSource
from tests.unit.replay.logs import a_log, written


def decisions() -> list[Entry]:
    return [entry for entry in a_log() if entry.topic is DECISIONS]


def verdict(
    folder: Path,
    change: Callable[[Entry], Entry | None] = lambda entry: entry,
    *,
    begin: Position | None = None,
    end: Position | None = None,
) -> Verdict:
    kept = [changed for entry in a_log() if (changed := change(entry)) is not None]
    return redecide_log(FileSource(written(kept, folder / "log.jsonl")), begin=begin, end=end, code_version="later")


def with_decision(offset: int, **fields: Any) -> Callable[[Entry], Entry]:
    def change(entry: Entry) -> Entry:
        if entry.topic is DECISIONS and entry.offset == offset:
            return replace(entry, record=replace(entry.record, **fields))
        return entry

    return change


def test_all_decisions_of_a_log_come_out_equal(tmp_path: Path) -> None:
    assert verdict(tmp_path) == Verdict(equal=len(decisions()))


@pytest.mark.parametrize("start", range(1, 7))
def test_decisions_from_any_place_on_come_out_equal_by_the_whole_one_before_it(tmp_path: Path, start: int) -> None:
    made = verdict(tmp_path, begin=Offset(start))
    assert (made.equal, made.unproved, made.difference) == (len(decisions()) - start, 0, "")


def test_places_may_be_times_and_what_lies_outside_is_not_judged(tmp_path: Path) -> None:
    first, last = decisions()[3], decisions()[-2]
    made = verdict(tmp_path, begin=Time(first.at_unix_ms), end=Time(last.at_unix_ms))
    assert made.equal == sum(first.at_unix_ms <= entry.at_unix_ms < last.at_unix_ms for entry in decisions())
    assert verdict(tmp_path, with_decision(1, at_unix_ms=0), begin=Time(first.at_unix_ms)).is_equal


def test_the_first_difference_is_explained_with_both_values_reason_time_cause_inputs_policy_and_version(tmp_path: Path) -> None:
    offset = next(entry.offset for entry in decisions() if entry.record.plans and not entry.record.whole and entry.offset > 3)
    recorded: Decision = decisions()[offset].record
    plan = recorded.plans[0]
    made = verdict(tmp_path, with_decision(offset, plans=(replace(plan, gops_per_segment=plan.gops_per_segment + 7), *recorded.plans[1:])))
    assert made.equal == offset
    told = made.difference
    assert f"decision {recorded.number} of pool 0, at offset {offset}, comes out otherwise" in told
    assert f"plans {plan.channel}: gops_per_segment recorded {plan.gops_per_segment + 7}, made now {plan.gops_per_segment}" in told
    assert f"(both for the reason {plan.reason})" in told
    assert "decided 2023-11-14T22:1" in told
    assert "by code test, made again by later" in told
    assert "finecut.gops before offset" in told
    assert "policy: the defaults" in told


def test_a_decision_that_would_not_be_made_is_told_with_what_it_says(tmp_path: Path) -> None:
    last = decisions()[-1].record
    extra = replace(last, number=last.number + 1, lands_at=len(decisions()), whole=False, at_unix_ms=UnixMs(last.at_unix_ms + 1))

    entries = [*a_log(), replace(decisions()[-1], offset=len(decisions()), record=extra)]
    made = redecide_log(FileSource(written(entries, tmp_path / "log.jsonl")))
    assert made.equal == len(decisions())
    assert "nothing would be decided now; recorded:" in made.difference


def test_what_a_record_of_an_input_said_otherwise_is_found(tmp_path: Path) -> None:
    def change(entry: Entry) -> Entry:
        silent = entry.topic is DEMAND and any(seen.first_request for seen in entry.record.channels)
        return replace(entry, record=replace(entry.record, channels=())) if silent else entry

    assert "plans sport" in verdict(tmp_path, change).difference


def test_decisions_of_an_overtaken_planner_and_behind_a_hole_are_counted_apart(tmp_path: Path) -> None:
    assert verdict(tmp_path, with_decision(2, lands_at=77)).reasons[OVERTAKEN] == 1
    made = verdict(tmp_path, lambda entry: None if entry.topic is DECISIONS and entry.offset == 1 else entry)
    assert made.is_equal
    assert made.reasons[BROKEN] > 0
    assert made.equal > 2, "it goes on at the next whole one"


def test_decisions_made_from_what_the_log_no_longer_has_are_no_difference(tmp_path: Path) -> None:
    gone = next(entry.offset for entry in a_log() if entry.topic is DEMAND and any(seen.first_request for seen in entry.record.channels))
    made = verdict(tmp_path, lambda entry: None if entry.topic is DEMAND and entry.offset <= gone else entry)
    assert made.is_equal
    assert set(made.reasons) <= {TOO_OLD}
    assert made.unproved > 0


def test_a_policy_of_another_version_is_told_and_one_without_new_settings_is_understood(tmp_path: Path) -> None:
    assert verdict(tmp_path, with_decision(4, policy='{"granularity": {"gone": 1}}')).reasons == {POLICY: 1}
    assert verdict(tmp_path, with_decision(4, policy="{}")).is_equal


def test_a_stretch_without_decisions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no decision lies in this stretch"):
        verdict(tmp_path, begin=Offset(10_000))
    with pytest.raises(UserError, match="no decision lies in this stretch"):
        verdict(tmp_path, lambda entry: None if entry.topic is DECISIONS else entry)


def test_a_log_without_a_whole_decision_proves_nothing(tmp_path: Path) -> None:
    made = verdict(tmp_path, lambda entry: None if entry.topic is DECISIONS and entry.record.whole else entry)
    assert (made.equal, made.is_equal) == (0, True)
    assert "before the first that restates everything" in str(made)


@pytest.mark.parametrize(
    "line", ["{}", "no json", '{"topic": "gops", "partition": 0, "offset": 1, "at_unix_ms": 2, "key": "", "type": "Gone"}']
)
def test_a_line_that_is_no_record_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = written(a_log()[:2], tmp_path / "log.jsonl")
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(UserError, match=r"log\.jsonl, line 3: this is no record"):
        FileSource(path)
