"""Another policy from a file: settings that decisions read, by section and key, over those that were in force."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.errors import UserError
from streams.core.policy import Policy
from streams.simulate.scenario.reading import line_of

SECTIONS: Mapping[str, type[BaseModel]] = {field.name: field.type for field in fields(Policy)}  # type: ignore[misc]
FIX = "correct the line; infra/SETTINGS.md has every setting"


def read_policy(path: Path, base: Policy) -> Policy:
    """
    A policy with what a file says, all else as in another one.

    Args:
        path: A TOML file: ``[granularity]``, ``hold_ms = 2000``.
        base: What holds where the file is silent.

    Raises:
        UserError: It cannot be read, or a key, unit, range or relation is wrong: with the line and what was expected.
    """
    try:
        text = path.read_text()
        plain = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}", do="name a policy file") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: {error}", do="write TOML: [section], key = value") from error
    problems: list[tuple[int, str]] = []
    changed: dict[str, Any] = {}
    for section, values in plain.items():
        kind = SECTIONS.get(section)
        if kind is None or not isinstance(values, dict):
            expected = f"a section: {', '.join(f'[{name}]' for name in SECTIONS)}"
            problems.append((line_of(text, (section,)), f"{section}: expected {expected}{_meant(section, SECTIONS)}"))
            continue
        try:
            # Values of the wrong kind are not bent: "30 s" or true is no number of milliseconds.
            merged = {**getattr(base, section).model_dump(mode="json"), **values}
            changed[section] = kind.model_validate_json(json.dumps(merged, default=str), strict=True)
        except ValidationError as error:
            problems += [(line_of(text, (section, *p["loc"])), _problem(kind, section, p, values)) for p in error.errors()]
    if problems:
        raise UserError("\n".join(f"{path}, line {line}: {problem}" for line, problem in sorted(problems)), do=FIX)
    if not changed:
        raise UserError(f"{path} changes nothing", do=FIX)
    return replace(base, **changed)


def differences(was: Policy, now: Policy) -> list[str]:
    """
    What differs between two policies, a line each.

    >>> differences(Policy(), Policy(granularity=Policy().granularity.model_copy(update={"hold_ms": 1})))
    ['granularity.hold_ms: 8000 -> 1']
    """
    lines = []
    for section in SECTIONS:
        old, new = getattr(was, section).model_dump(mode="json"), getattr(now, section).model_dump(mode="json")
        lines += [f"{section}.{key}: {old[key]} -> {new[key]}" for key in old if old[key] != new[key]]
    return lines


def _problem(kind: type[BaseModel], section: str, problem: Any, values: Mapping[str, Any]) -> str:
    path: Sequence[str | int] = problem["loc"]
    said = str(problem["msg"]).removeprefix("Value error, ")
    if not path:
        return f"[{section}]: {said}"
    key = str(path[0])
    if problem["type"] == "extra_forbidden":
        return f"{section}.{key}: there is no such key{_meant(key, kind.model_fields)}; expected one of {', '.join(kind.model_fields)}"
    about = kind.model_fields[key]
    unit = {"ms": ", in milliseconds", "bytes": ", in bytes"}.get(key.rsplit("_", 1)[-1], "")
    said = said.replace("Input should be ", "expected ", 1)
    return f"{section}.{key}: {said}{unit}, not {values.get(key)!r} (default {about.default}: {about.description})"


def _meant(word: str, words: Mapping[str, Any]) -> str:
    near = get_close_matches(word, list(words), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
