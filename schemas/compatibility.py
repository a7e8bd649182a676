"""Old schemas against new ones: whether readers and writers of either can read what the other wrote. The only importer of avro."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import Schema, make_avsc_object

from schemas.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Incompatibility:
    """
    One thing that a reader could not make of what was written.

    Attributes:
        record: Name of the record.
        reader: ``new`` when today's code could not read what is stored, ``old`` when code of the release could not read
            what is written now.
        problem: What the checker says and where in the schema it lies.
    """

    record: str
    reader: str
    problem: str


def incompatibilities(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Incompatibility, ...]:
    """
    What keeps two sets of schemas from understanding each other, in both directions; empty when nothing does.

    Args:
        old: Text of each schema of the release, by record name.
        new: Text of each schema now, by record name.

    >>> was = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}'
    >>> now = was.replace('"long"', '"string"')
    >>> incompatibilities({"R": was}, {"R": now})[0]
    Incompatibility(record='R', reader='new', problem='reader type: string not compatible with writer type: long at /fields/0/type')
    """
    found = []
    for name in sorted(old):
        if name not in new:
            problem = "the record is gone, stored ones could not be read"
            found.append(Incompatibility(record=name, reader="new", problem=problem))
            continue
        found += _compare(name, "new", reader=_parse(new[name]), writer=_parse(old[name]))
        found += _compare(name, "old", reader=_parse(old[name]), writer=_parse(new[name]))
    return tuple(found)


def read_folder(folder: Path) -> dict[str, str]:
    """
    Text of each schema in a folder, by record name.

    Raises:
        UserError: The folder holds no schema, or one that is none.
    """
    texts = {}
    for path in sorted(folder.glob("*.avsc")):
        try:
            texts[json.loads(path.read_text())["name"]] = path.read_text()
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not the schema of a record: {error}") from error
    if not texts:
        raise UserError(f"no .avsc file in {folder}", do="name a folder of schemas, or a released version")
    return texts


def _parse(text: str) -> Schema:
    return make_avsc_object(json.loads(text), validate_enum_symbols=False)


def _compare(name: str, side: str, *, reader: Schema, writer: Schema) -> list[Incompatibility]:
    checker: Any = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # avro annotates all but this
    result = checker.get_compatibility(reader, writer)
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    # The checker collects places and messages apart and always adds the root; they cannot be paired.
    places = ", ".join(sorted(result.locations - {"/"})) or "/"
    return [Incompatibility(record=name, reader=side, problem=f"{'; '.join(sorted(result.messages))} at {places}")]
