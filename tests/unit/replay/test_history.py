"""The history of a channel, told from its decisions."""

from schemas.topics import DECISIONS
from streams.replay.history import Event, history
from tests.unit.replay.logs import a_log


def told(channel: str, *, skip: int = 0, told_from: int = 0) -> list[Event]:
    decisions = [entry for entry in a_log() if entry.topic is DECISIONS]
    return list(history(decisions[skip:], channel, told_from=told_from))


def test_a_channel_that_is_asked_for_starts_with_its_reason_and_the_record_that_led_to_it() -> None:
    events = told("sport")
    assert [event.what for event in events][:4] == ["plan", "plan", "start", "give"]
    started = events[2]
    assert started.reason == "somebody asked for it"
    assert started.cause == "finecut.demand/0/30"


def test_a_death_is_told_to_the_channels_it_held_with_the_move_that_follows() -> None:
    dead, move = (next(event for event in told("news") if event.what == what) for what in ("dead", "move"))
    assert "a holder of it" in dead.text
    assert f"{dead.text.split(',')[0]} -> p" in move.text
    assert move.reason == "its packager is dead"


def test_segment_lengths_are_told_with_what_they_were() -> None:
    lengths = [event for event in told("news") if "GOPs a segment" in event.text]
    assert lengths[0].what == "plan"
    assert any(" -> " in event.text and event.reason == "people are expected to join" for event in lengths)


def test_what_a_later_beginning_finds_in_force_is_told_as_found() -> None:
    decisions = [entry for entry in a_log() if entry.topic is DECISIONS]
    whole = next(entry.offset for entry in decisions if entry.record.whole and entry.offset)
    events = told("news", skip=whole)
    assert {event.what for event in events[:3]} == {"found"}
    later = told("news", told_from=whole)
    assert [event for event in later if event.what != "found"] == [event for event in told("news") if event.decision > whole]


def test_a_channel_nobody_decided_on_has_no_history() -> None:
    assert told("chess") == []
