"""The .avsc files and the typed records say the same, field by field, and every field is documented."""

import dataclasses
import json
import re
from typing import Any

import pytest

from schemas.codec import FOLDER, RECORDS, file_name, schema_text
from schemas.records import Chunk


def documented(record: type[Any]) -> set[str]:
    return set(re.findall(r"^\s+(\w+): ", (record.__doc__ or "").split("Attributes:")[-1], re.MULTILINE))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_schema_has_the_fields_of_its_record_in_order_with_their_defaults(record: type[Any]) -> None:
    schema = json.loads(schema_text(record))
    assert schema["name"] == record.__name__
    by_name = {field["name"]: field for field in schema["fields"]}
    assert set(by_name) == {field.name for field in dataclasses.fields(record)}
    for field in dataclasses.fields(record):
        entry = by_name[field.name]
        assert entry["doc"], f"{record.__name__}.{field.name} is not documented"
        assert ("default" in entry) == (field.default is not dataclasses.MISSING), field.name


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_of_a_record_is_explained_in_its_docstring(record: type[Any]) -> None:
    assert {field.name for field in dataclasses.fields(record)} <= documented(record)


def test_there_is_no_schema_without_a_record() -> None:
    assert {path.name for path in FOLDER.glob("*.avsc")} == {file_name(record) for record in RECORDS}


def test_the_bytes_of_a_chunk_come_last_so_that_its_header_is_read_alone() -> None:
    assert [field["name"] for field in json.loads(schema_text(Chunk))["fields"]][-1] == "payload"
