"""Entries as Parquet: one table per topic, a typed column per field; nested records stay nested."""

import typing
from collections.abc import Iterable
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.codec import to_plain
from schemas.errors import UserError
from schemas.records import Chunk
from schemas.topics import Topic

from .entries import Entry

ROWS_PER_GROUP = 5_000
PLACE = (
    pa.field("partition", pa.int32()),
    pa.field("offset", pa.int64()),
    pa.field("at", pa.timestamp("ms", tz="UTC")),
    pa.field("key", pa.string()),
    pa.field("type", pa.string()),
)
SCALARS: dict[Any, Any] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}


def schema_of(topic: Topic, *, payloads: bool = False) -> Any:
    """
    Columns of a topic's table: its place in the log, then the fields of all its record types side by side.

    Args:
        topic: Topic.
        payloads: With the payload of chunks; else only its size.

    Raises:
        ValueError: Two of its record types have a field of one name and two types.

    >>> from schemas.topics import GOPS
    >>> schema_of(GOPS).field("durable_unix_ms").type
    DataType(int64)
    """
    columns: dict[str, Any] = {}
    for record in topic.records:
        for name, hint in typing.get_type_hints(record).items():
            kind = _type(hint)
            if columns.setdefault(name, kind) != kind:
                raise ValueError(f"{topic.title}: {name} is {columns[name]} and {kind}")
    if Chunk in topic.records:
        columns["payload_size"] = pa.int64()
        if not payloads:
            del columns["payload"]
    return pa.schema([*PLACE, *(pa.field(name, kind) for name, kind in columns.items())])


def write_tables(entries: Iterable[Entry], folder: Path, *, payloads: bool) -> dict[str, int]:
    """
    Write ``<topic>.parquet`` for each topic that has entries; those that could not be read are left out.

    Args:
        entries: Topic after topic.
        folder: Made if absent; files of the same names are replaced.
        payloads: Write the payload of chunks; else the column is left out.

    Returns:
        Rows written, by topic title.

    Raises:
        UserError: The folder cannot be written.
    """
    rows: dict[str, int] = {}
    batches: dict[str, list[dict[str, Any]]] = {}
    writers: dict[str, Any] = {}
    schemas: dict[str, Any] = {}

    def flush(title: str) -> None:
        writers[title].write_table(pa.Table.from_pylist(batches[title], schema=schemas[title]))
        batches[title] = []

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            title = entry.topic.title
            if entry.error:
                continue
            if title not in writers:
                schemas[title] = schema_of(entry.topic, payloads=payloads)
                writers[title] = pq.ParquetWriter(folder / f"{title}.parquet", schemas[title], compression="zstd")
                batches[title] = []
            batches[title].append(_row(entry))
            rows[title] = rows.get(title, 0) + 1
            if len(batches[title]) >= ROWS_PER_GROUP:
                flush(title)
        for title in writers:
            flush(title)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error
    finally:
        for writer in writers.values():
            writer.close()
    return rows


def _row(entry: Entry) -> dict[str, Any]:
    place = {"partition": entry.partition, "offset": entry.offset, "at": entry.at_unix_ms, "key": entry.key}
    if entry.record is None:
        return place
    size = {"payload_size": entry.payload_size} if isinstance(entry.record, Chunk) else {}
    return {**place, "type": type(entry.record).__name__, **to_plain(entry.record), **size}


def _type(hint: Any) -> Any:
    arguments = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    if isinstance(hint, typing.NewType):
        return _type(hint.__supertype__)
    if typing.get_origin(hint) is tuple:
        return pa.list_(_type(arguments[0]))
    if arguments:  # X | None: every column may be empty
        return _type(arguments[0])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return pa.string()
    if is_dataclass(hint):
        return pa.struct([pa.field(name, _type(inner)) for name, inner in typing.get_type_hints(hint).items()])
    return SCALARS[hint]
