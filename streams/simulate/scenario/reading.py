"""A scenario file to a scenario; what is wrong in it is told with its line and what was expected."""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.errors import UserError
from streams.simulate.scenario.spec import Scenario

FIX = "correct the line; streams/simulate/scenarios/README.md tells every key"


def read_scenario(path: Path, overrides: dict[str, Any] | None = None) -> Scenario:
    """
    The scenario of a file.

    Args:
        path: A TOML file.
        overrides: Values by dotted key that replace those of the file.

    Raises:
        UserError: It cannot be read, or says what no scenario can: the line and what was expected.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}", do="name a scenario file") from error
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: {error}", do="write TOML: key = value, [table]") from error
    for key, value in (overrides or {}).items():
        put(plain, key, value)
    return scenario_of(plain, name=str(path), text=text)


def scenario_of(plain: dict[str, Any], *, name: str, text: str = "") -> Scenario:
    """
    The scenario that plain values make.

    Raises:
        UserError: They make none.
    """
    try:
        return Scenario.model_validate(plain)
    except ValidationError as error:
        raise UserError("; ".join(_said(problem, name, text) for problem in error.errors()), do=FIX) from error


def put(plain: dict[str, Any], key: str, value: Any) -> None:
    """Set a value by its dotted key."""
    *tables, last = key.split(".")
    for table in tables:
        plain = plain.setdefault(table, {})
    plain[last] = value


def _said(problem: Any, name: str, text: str) -> str:
    path: tuple[str | int, ...] = problem["loc"]
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = f"there is no such key; there are {', '.join(sorted(_keys(path[:-1])))}"
    elif problem["type"] != "missing" and not isinstance(problem["input"], dict):
        message += f", not {problem['input']!r}"
    where = ".".join(str(part) for part in path) or "scenario"
    return f"{name}, line {line_of(text, path)}: {where}: {message}"


def _keys(path: Iterable[str | int]) -> Iterable[str]:
    """Keys of the table at a path."""
    table: type[BaseModel] = Scenario
    for part in path:
        if isinstance(part, str):
            kinds = [table.model_fields[part].annotation]
            while kinds:
                kind = kinds.pop()
                kinds += getattr(kind, "__args__", ())
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    table = kind
    return table.model_fields


def line_of(text: str, path: Sequence[str | int]) -> int:
    r"""
    Line of a value, or of the innermost table around it, from 1.

    >>> line_of("seed = 1\n[pool]\ncores = 0\n", ("pool", "cores"))
    3
    >>> line_of("seed = 1\n[pool]\ncores = 0\n", ("pool", "packagers"))
    2
    """
    best, best_line = 0, 1
    table: tuple[str | int, ...] = ()
    seen: dict[str, int] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line.startswith("["):
            title = line.strip("[] \t").split("#")[0].rstrip("] ").strip()
            table = tuple(part.strip() for part in title.split("."))
            if line.startswith("[["):
                seen[title] = seen.get(title, -1) + 1
                table += (seen[title],)
            here = table
        elif "=" in line and not line.startswith("#"):
            here = table + tuple(part.strip().strip('"') for part in line.split("=", 1)[0].split("."))
        else:
            continue
        if len(here) > best and tuple(path[: len(here)]) == here:
            best, best_line = len(here), number
    return best_line
