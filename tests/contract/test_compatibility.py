"""Released schemas and today's understand each other, and the checker sees what would break that."""

import json
from typing import Any

import pytest

from schemas.codec import FOLDER, RECORDS, RELEASED, schema_text
from schemas.compatibility import incompatibilities, read_folder
from schemas.records import Chunk, Plan

Change = dict[str, Any]


def changed(record: type[Any], change: Any) -> dict[str, str]:
    schema = json.loads(schema_text(record))
    change(schema["fields"])
    return {record.__name__: json.dumps(schema)}


def plan() -> dict[str, str]:
    return {"Plan": schema_text(Plan)}


@pytest.mark.parametrize("version", sorted(path.name for path in RELEASED.glob("*")) or ["none"])
def test_released_records_are_read_and_written_records_can_be_read_by_the_release(version: str) -> None:
    if version == "none":
        assert not RELEASED.exists()
        return
    assert incompatibilities(read_folder(RELEASED / version), read_folder(FOLDER)) == ()


def test_today_s_schemas_are_compatible_with_themselves() -> None:
    now = read_folder(FOLDER)
    assert set(now) == {record.__name__ for record in RECORDS}
    assert incompatibilities(now, now) == ()


def test_a_new_field_with_a_default_is_compatible() -> None:
    new = changed(Plan, lambda fields: fields.append({"name": "more", "type": "long", "default": 0, "doc": "."}))
    assert incompatibilities(plan(), new) == ()


def test_a_new_field_without_a_default_cannot_be_read_from_old_records() -> None:
    new = changed(Plan, lambda fields: fields.append({"name": "more", "type": "long", "doc": "."}))
    assert [(found.record, found.reader) for found in incompatibilities(plan(), new)] == [("Plan", "new")]


def test_a_renamed_field_breaks_both_ways() -> None:
    new = changed(Chunk, lambda fields: fields[0].update(name="canal"))
    assert [found.reader for found in incompatibilities({"Chunk": schema_text(Chunk)}, new)] == ["new", "old"]


def test_a_symbol_that_old_readers_do_not_know_is_incompatible() -> None:
    level = next(number for number, field in enumerate(json.loads(schema_text(Plan))["fields"]) if field["name"] == "level")
    new = changed(Plan, lambda fields: fields[level]["type"]["symbols"].append("archive"))
    assert [found.reader for found in incompatibilities(plan(), new)] == ["old"]


def test_a_record_that_is_gone_cannot_be_read_any_more() -> None:
    assert [found.problem for found in incompatibilities(plan(), {})] == ["the record is gone, stored ones could not be read"]
