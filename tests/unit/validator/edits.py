"""How recorded exchanges are spoiled: by text, by bytes, by headers, by time."""

import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace

from infra.validator.recording import Exchange

Exchanges = list[Exchange]
Edit = Callable[[Exchanges], Exchanges]


def at(exchange: Exchange, pattern: str) -> bool:
    """Whether an exchange is a successful GET of a URL that ends so (its query left out)."""
    return exchange.status == 200 and exchange.method == "GET" and re.search(f"{pattern}$", exchange.place) is not None


def each(pattern: str, edit: Callable[[Exchange], Exchange | None], *, share: float = 0.0, until: float = 1.0) -> Edit:
    """
    Change, or leave out, exchanges of a URL.

    Args:
        pattern: End of the URL, a regular expression.
        edit: None leaves it out.
        share: Only those after this share of them.
        until: Only those before this share of them.
    """

    def apply(exchanges: Exchanges) -> Exchanges:
        chosen = [i for i, e in enumerate(exchanges) if at(e, pattern)]
        assert chosen, pattern
        chosen = chosen[int(share * len(chosen)) : max(int(share * len(chosen)) + 1, int(until * len(chosen)))]
        edited = {i: edit(exchanges[i]) for i in chosen}
        assert any(edited[i] != exchanges[i] for i in chosen), f"nothing of {pattern} changes"
        return [e for i, exchange in enumerate(exchanges) if (e := edited.get(i, exchange)) is not None]

    return apply


def text(pattern: str, edit: Callable[[str], str], *, share: float = 0.0, until: float = 1.0) -> Edit:
    """Change what a manifest says."""
    return each(pattern, lambda e: with_body(e, edit(e.body.decode()).encode()), share=share, until=until)


def swap(pattern: str, old: str, new: str, *, share: float = 0.0, until: float = 1.0, count: int = 0) -> Edit:
    """Put other text in the place of what a regular expression matches."""
    return text(pattern, lambda body: re.sub(old, new, body, count=count, flags=re.MULTILINE), share=share, until=until)


def data(pattern: str, edit: Callable[[bytes], bytes], *, share: float = 0.0) -> Edit:
    """Change the bytes of objects."""
    return each(pattern, lambda e: with_body(e, edit(e.body)), share=share)


def header(pattern: str, **headers: str | None) -> Edit:
    """Set headers, or take them away; underscores stand for hyphens."""

    def edit(exchange: Exchange) -> Exchange:
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in (exchange.headers | changed).items() if value is not None}
        return replace(exchange, headers=kept)

    return each(pattern, edit)


def with_body(exchange: Exchange, body: bytes) -> Exchange:
    """The same answer with another body, its length announced."""
    headers = dict(exchange.headers)
    if "content-encoding" not in headers and "content-length" in headers:
        headers["content-length"] = str(len(body))
    return replace(exchange, body=body, headers=headers)


def answer(wanted: Callable[[Exchange], bool], status: int, body: bytes = b"no\n", *, first: int | None = None) -> Edit:
    """Answer some requests otherwise; ``first``: only so many of them."""

    def apply(exchanges: Exchanges) -> Exchanges:
        left = len(exchanges) if first is None else first
        out = []
        for exchange in exchanges:
            if left and wanted(exchange):
                left -= 1
                kept = {"content-type": "text/plain", "cache-control": "no-store", "content-length": str(len(body))}
                out.append(replace(exchange, status=status, body=body, headers=kept))
            else:
                out.append(exchange)
        assert out != exchanges, "no such request"
        return out

    return apply


def again(pattern: str, edit: Callable[[Exchange], Exchange]) -> Edit:
    """Ask once more for an object at the end."""

    def apply(exchanges: Exchanges) -> Exchanges:
        first = next(e for e in exchanges if at(e, pattern))
        end = exchanges[-1].done_ms + 10
        return [*exchanges, edit(replace(first, sent_ms=end, first_ms=end + 1, done_ms=end + 2))]

    return apply


def box(body: bytes, kind: bytes, which: int = 0) -> int:
    """Where the payload of a box begins, its full-box header included."""
    place = -1
    for _ in range(which + 1):
        place = body.index(kind, place + 1)
    return place + 4


def poke(kind: bytes, offset: int, value: bytes, which: int = 0) -> Callable[[bytes], bytes]:
    """Overwrite bytes of a box."""

    def edit(body: bytes) -> bytes:
        place = box(body, kind, which) + offset
        return body[:place] + value + body[place + len(value) :]

    return edit


def add(kind: bytes, offset: int, delta: int, which: int = 0, form: str = ">Q") -> Callable[[bytes], bytes]:
    """Add to a number in a box."""

    def edit(body: bytes) -> bytes:
        place = box(body, kind, which) + offset
        (value,) = struct.unpack_from(form, body, place)
        return poke(kind, offset, struct.pack(form, value + delta), which)(body)

    return edit


def make_box(kind: bytes, payload: bytes) -> bytes:
    """A box."""
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def chain(*edits: Edit) -> Edit:
    """One after the other."""

    def apply(exchanges: Exchanges) -> Exchanges:
        for edit in edits:
            exchanges = edit(exchanges)
        return exchanges

    return apply


def lines(edit: Callable[[list[str]], Iterable[str]]) -> Callable[[str], str]:
    """A change of a text as one of its lines."""
    return lambda body: "\n".join(edit(body.splitlines())) + "\n"
