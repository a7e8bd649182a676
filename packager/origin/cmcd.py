"""
What players say of themselves: CMCD of either version, in a query, in headers or in posted events, in every player's dialect.

A tolerant, linear reader of CTA-5004 (version 1: ``bl=6000,su,sid="x"``) and CTA-5004-A (version 2: structured fields with inner
lists, ``br=(4200;v 256;a)``). It accepts any string: what cannot be read is left out, never an error (media section 5).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

TEXT_MAX = 16_384  # no player's report comes near; what is longer is cut
KEYS_MAX = 128
VALUE_MAX = 2_048
TEXT_FIELD_MAX = 512  # of what is kept: ids and addresses
HEADERS = ("cmcd-request", "cmcd-object", "cmcd-session", "cmcd-status")
NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,6})?")
KEY_END = re.compile(r"[=,;\s]")
ITEM_END = re.compile(r"[,;()\s]")
PARAM_END = re.compile(r"[=,;()\s]")
TOP_END = re.compile(r'[,"]')

# What players write: keys with a plain value, a string without escapes, or a list of plain values with flags.
PLAIN = re.compile(r'[ \t,]*([^=,;()"\s]+)(?:=(?:"([^"\\]*)"|\(([^=,()"\s]*(?: [^=,()"\s]+)*)\)|([^,;()"\s]*)))?(?=,|$)')

Value = str | int | float | bool


class Item(NamedTuple):
    """One value and its parameters, as ``4200;v`` in ``br=(4200;v 256;a)``."""

    value: Value
    params: tuple[tuple[str, Value], ...] = ()


Fields = Mapping[str, tuple[Item, ...]]


def parse(text: str) -> Fields:
    """
    Keys and values of one report; a plain value is a list of one.

    >>> fields = parse('br=(4200;v 256;a),bl=6000,su,sid="a,b"')
    >>> [item.value for item in fields["br"]], fields["bl"][0].value, fields["su"][0].value, fields["sid"][0].value
    ([4200, 256], 6000, True, 'a,b')
    """
    text = text[:TEXT_MAX]
    plain = _parse_plain(text)
    return _parse_any(text) if plain is None else plain


def _parse_plain(text: str) -> Fields | None:
    """The same as `_parse_any` for what players write, in a third of the time; None for anything else."""
    fields: dict[str, tuple[Item, ...]] = {}
    at = 0
    while at < len(text) and len(fields) < KEYS_MAX:
        match = PLAIN.match(text, at)
        if match is None:
            return None
        at = match.end()
        key, string, several, raw = match.groups()
        if several is not None:
            fields[key] = tuple(_flagged(word) for word in several.split())
        else:
            fields[key] = (Item(string[:VALUE_MAX] if string is not None else raw is None or _plain(raw)),)
    return fields


def _flagged(word: str) -> Item:
    value, *flags = word.split(";")
    return Item(_plain(value), tuple((flag, True) for flag in flags))


def _plain(raw: str) -> Value:
    """A value that is no string."""
    raw = raw[:VALUE_MAX]
    if raw in {"?1", "true"}:
        return True
    if raw in {"?0", "false"}:
        return False
    if NUMBER.fullmatch(raw):
        return float(raw) if "." in raw else int(raw)
    return raw


def _parse_any(text: str) -> Fields:
    fields: dict[str, tuple[Item, ...]] = {}
    reader = _Reader(text)
    while len(fields) < KEYS_MAX and (pair := reader.pair()) is not None:
        if pair[0]:
            fields[pair[0]] = pair[1]
    return fields


class _Reader:
    """Reads left to right and never goes back, so its time is linear in the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def pair(self) -> tuple[str, tuple[Item, ...]] | None:
        """The next key and its values; an empty key for what is none; None at the end."""
        self._skip(" \t,")
        if self.at >= len(self.text):
            return None
        key = self._until(KEY_END)
        if self._peek() != "=":
            items: tuple[Item, ...] = (Item(True, self._params()),)
        else:
            self.at += 1
            items = tuple(self._list()) if self._peek() == "(" else (self._item(),)
            if self._peek() == ";":  # parameters of a whole list; nobody uses them
                self._params()
        self._to_comma()
        return key.strip(), items

    def _list(self) -> Iterator[Item]:
        self.at += 1
        while True:
            self._skip(" \t")
            if self._peek() in {")", ""}:
                self.at += 1
                return
            before = self.at
            yield self._item()
            if self.at == before:  # a character that no item begins with
                self.at += 1

    def _item(self) -> Item:
        return Item(self._value(), self._params())

    def _value(self) -> Value:
        if self._peek() == '"':
            return self._string()
        return _plain(self._until(ITEM_END))

    def _string(self) -> str:
        self.at += 1
        start = self.at
        while self.at < len(self.text) and self.text[self.at] != '"':
            self.at += 2 if self.text[self.at] == "\\" else 1
        inner = self.text[start : self.at]
        self.at += 1
        return re.sub(r"\\(.)", r"\1", inner)[:VALUE_MAX]

    def _params(self) -> tuple[tuple[str, Value], ...]:
        params: list[tuple[str, Value]] = []
        while self._peek() == ";":
            self.at += 1
            self._skip(" \t")
            name = self._until(PARAM_END)
            value: Value = True
            if self._peek() == "=":
                self.at += 1
                value = self._value()
            params.append((name, value))
        return tuple(params)

    def _to_comma(self) -> None:
        while (char := self._peek()) not in {",", ""}:
            if char == '"':
                self._string()
            else:
                match = TOP_END.search(self.text, self.at)
                self.at = match.start() if match else len(self.text)

    def _until(self, stop: re.Pattern[str]) -> str:
        match = stop.search(self.text, self.at)
        start, self.at = self.at, match.start() if match else len(self.text)
        return self.text[start : self.at]

    def _skip(self, what: str) -> None:
        while self.at < len(self.text) and self.text[self.at] in what:
            self.at += 1

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """
    What a player says, in our words; None where it is silent.

    Attributes:
        session: ``sid``.
        content: ``cid``.
        event: ``e``: ``ps`` play state, ``t`` time, ``rr`` response received and so on; empty for a request.
        state: ``sta``: ``p`` play, ``r`` rebuffer, ``k`` seek and so on.
        kind: ``ot``: ``v``, ``a``, ``av``, ``m`` manifest, ``i`` init.
        buffer_ms: ``bl``, of video if it is told apart.
        throughput_kbps: ``mtp``.
        bitrate_kbps: ``br``.
        latency_ms: ``ltc``.
        is_starved: ``bs``: the buffer ran dry since the last request.
        is_urgent: ``su``: start-up, seek or recovery.
        url: ``url`` of the response reported.
        version: ``v``.
    """

    session: str | None = None
    content: str | None = None
    event: str = ""
    state: str | None = None
    kind: str | None = None
    buffer_ms: int | None = None
    throughput_kbps: int | None = None
    bitrate_kbps: int | None = None
    latency_ms: int | None = None
    is_starved: bool = False
    is_urgent: bool = False
    url: str | None = None
    version: int = 1


def read(text: str) -> Report | None:
    """
    The report in one string; None if there is nothing in it.

    >>> read('e=ps,sta=r,sid="x",v=2')
    Report(session='x', content=None, event='ps', state='r', kind=None, buffer_ms=None, throughput_kbps=None, bitrate_kbps=None, \
latency_ms=None, is_starved=False, is_urgent=False, url=None, version=2)
    """
    fields = parse(text)
    if not fields:
        return None
    return Report(
        session=_text(fields, "sid"),
        content=_text(fields, "cid"),
        event=_text(fields, "e") or "",
        state=_text(fields, "sta"),
        kind=_text(fields, "ot"),
        buffer_ms=_number(fields, "bl"),
        throughput_kbps=_number(fields, "mtp"),
        bitrate_kbps=_number(fields, "br"),
        latency_ms=_number(fields, "ltc"),
        is_starved=_truth(fields, "bs"),
        is_urgent=_truth(fields, "su"),
        url=_text(fields, "url"),
        version=_number(fields, "v") or 1,
    )


def read_request(query: str | None, headers: Mapping[str, str]) -> Report | None:
    """The report of a request: its query argument ``CMCD``, else its four headers together (media section 5)."""
    if query:
        return read(query)
    told = [value for name in HEADERS if (value := headers.get(name))]
    return read(",".join(told)) if told else None


def read_events(body: str, *, lines_max: int = 1_000) -> list[Report]:
    """Reports of a posted body, one a line."""
    found = (read(line) for line in body.split("\n", lines_max)[:lines_max])
    return [report for report in found if report is not None]


def _item(fields: Fields, key: str) -> Value | None:
    items = fields.get(key, ())
    video = next((item for item in items if any(name == "v" for name, _ in item.params)), None)
    chosen = video or (items[0] if items else None)
    return chosen.value if chosen else None


def _text(fields: Fields, key: str) -> str | None:
    value = _item(fields, key)
    return None if value is None or isinstance(value, bool) else str(value)[:TEXT_FIELD_MAX]


def _number(fields: Fields, key: str) -> int | None:
    value = _item(fields, key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return max(0, round(value))


def _truth(fields: Fields, key: str) -> bool:
    # hls.js and dash.js send `bs`, `bs=?1` or, in lists of version 2, `bs=(?1;v)`.
    return any(item.value is True for item in fields.get(key, ()))
