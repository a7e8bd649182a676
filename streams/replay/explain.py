"""Two decisions that should be one, told apart in words: what differs, and all that the recorded one was made from."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.codec import to_plain
from schemas.records import Decision
from schemas.topics import slice_key
from streams.core.policy import Policy

# What names each item of a decision's lists.
KEYS: Mapping[str, Callable[[Any], str]] = {
    "plans": lambda item: item.channel,
    "assignments": lambda item: slice_key(item.slice_id, item.copy),
    "packaging": lambda item: item.channel,
    "voids": lambda item: f"{item.channel}/{item.period}/{item.track}/{item.msn}",
    "dead": lambda item: f"{item.packager_id}/{item.life}",
    "queued": lambda item: slice_key(item.slice_id, item.copy),
    "ended_channels": str,
    "ended_slices": str,
}
# Given with the decision, so that they cannot come out otherwise.
GIVEN = frozenset({"inputs", "policy", "code_version", "lands_at"})
TEXT_MAX = 300


def explain(recorded: Decision, made: Decision | None, *, offset: int, code_version: str = "") -> str:
    """
    Some lines for a person.

    Args:
        recorded: As it stands in the log.
        made: As it comes out now; None if nothing would be decided.
        offset: Where in `decisions` it stands.
        code_version: Of the code that made it again.
    """
    is_other = bool(code_version) and code_version != recorded.code_version
    by = f"by code {recorded.code_version}" + (f", made again by {code_version}" if is_other else "")
    lines = [
        f"decision {recorded.number} of pool {recorded.pool}, at offset {offset}, comes out otherwise:",
        *(difference(recorded, made) if made else ["  nothing would be decided now; recorded:", *_said(recorded)]),
        f"  decided {clock(recorded.at_unix_ms)} {by}, cause {recorded.cause or 'the time that passed'}",
        f"  from {', '.join(f'{read.topic} before offset {read.next_offset}' for read in recorded.inputs)}",
        f"  policy: {policy_words(recorded.policy)}",
    ]
    if is_other:
        lines.append("  the code differs: check out the version that decided, to tell a changed rule from a broken one")
    return "\n".join(lines)


def difference(recorded: Decision, made: Decision) -> list[str]:
    """One line per value that differs, with its key, and the reasons on both sides."""
    lines = []
    for field in dataclasses.fields(Decision):
        was, now = getattr(recorded, field.name), getattr(made, field.name)
        if field.name in GIVEN or was == now:
            continue
        if field.name not in KEYS:
            lines += _compared(field.name, was, now)
            continue
        name = KEYS[field.name]
        olds, news = {name(item): item for item in was}, {name(item): item for item in now}
        for key in sorted({**olds, **news}):
            lines += _compared(f"{field.name} {key}", olds.get(key), news.get(key))
        if list(olds) != list(news) and sorted(olds) == sorted(news):
            lines.append(f"  {field.name}: recorded in the order {', '.join(olds)}, made now {', '.join(news)}")
    return lines


def policy_words(text: str) -> str:
    """
    What of a policy is not the default.

    >>> policy_words('{"granularity": {"hold_ms": 2000}}')
    'as the defaults but granularity.hold_ms 2000'
    >>> policy_words("{}")
    'the defaults'
    """
    told, usual = json.loads(text), json.loads(Policy().to_json())
    changed = [
        f"{section}.{key} {value}"
        for section, values in sorted(told.items())
        for key, value in sorted(values.items())
        if usual.get(section, {}).get(key) != value
    ]
    return f"as the defaults but {', '.join(changed)}" if changed else "the defaults"


def clock(unix_ms: int) -> str:
    """
    A time to the millisecond, UTC, as `--from` takes it.

    >>> clock(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    return datetime.fromtimestamp(unix_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _compared(what: str, was: Any, now: Any) -> list[str]:
    if was == now:
        return []
    if was is None or now is None:
        return [f"  {what}: recorded {_short(was) if was is not None else 'none'}, made now {_short(now) if now is not None else 'none'}"]
    if not dataclasses.is_dataclass(was):
        return [f"  {what}: recorded {was}, made now {now}"]
    changed = [f.name for f in dataclasses.fields(was) if getattr(was, f.name) != getattr(now, f.name)]
    told = ", ".join(f"{name} recorded {getattr(was, name)}, made now {getattr(now, name)}" for name in changed)
    reason = getattr(was, "reason", None)
    return [f"  {what}: {told}" + (f" (both for the reason {reason})" if reason and "reason" not in changed else "")]


def _said(decision: Decision) -> list[str]:
    """What a decision says, item by item."""
    lines = []
    for field in dataclasses.fields(Decision):
        value = getattr(decision, field.name)
        if field.name in KEYS:
            lines += [f"    {field.name} {KEYS[field.name](item)}: {_short(item)}" for item in value]
        elif field.name in {"whole", "scaling"} and value:
            lines.append(f"    {field.name}: {_short(value)}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(to_plain(value), separators=(", ", " ")).replace('"', "") if dataclasses.is_dataclass(value) else str(value)
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}..."
