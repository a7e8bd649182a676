"""Whatever is asked of an origin, it answers in time, with a clear status, and with nothing from outside the store."""

import asyncio
import random
import string
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packager.origin.app import Origin
from packager.origin.demand import Audience
from packager.origin.latency import Latency
from packager.origin.live import Live
from packager.origin.objects import Objects
from packager.store import DirectoryStore
from schemas.settings import StoreSettings
from schemas.units import Ms, UnixMs
from tests import facts

CLEAR = {200, 204, 206, 307, 400, 404, 405, 413, 416, 503}
SECRET = b"outside of the store"

WORDS = ("c1", "c2", "hls", "ll", "dash", "0", "00", "v0", "a0", "..", ".", "%2e%2e", "..%2f", "~", "secret", ".tmp-1", "multivariant.m3u8")
FILES = ("v0.m3u8", "manifest.mpd", "init.mp4", "0.m4s", "51200.m4s", "51200.part.m4s", "0.jpg", "99999999999999999999.m4s", "\x00", "")
pieces = st.sampled_from(WORDS + FILES) | st.text(string.printable + "é\u2028\x00", max_size=12).map(lambda text: quote(text, safe="%/.~"))
paths = st.lists(pieces, max_size=6).map(lambda parts: "/" + "/".join(parts))
numbers = st.integers(-3, 2**70).map(str) | st.text(max_size=6) | st.sampled_from(["1e3", "٣", "0x1", "+1", " 1"])
queries = st.dictionaries(st.sampled_from(["_HLS_msn", "_HLS_part", "_HLS_skip", "CMCD", "x"]), numbers | st.text(max_size=80), max_size=4)
regular = st.from_regex(r"bytes=-?[0-9]{0,25}-?[0-9]{0,25}(,[0-9]-)?", fullmatch=True)
ranges = st.none() | regular | st.text(string.printable, max_size=20)


class Site:
    """One origin for all examples: what one leaves behind must not harm the next."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        (root / "secret").write_bytes(SECRET)
        store = DirectoryStore(StoreSettings(directory=root / "store", free_bytes_min=1))
        store.create_if_absent("c1/0/v0/0.m4s", [b"0123456789"])
        live, period = Live(), facts.period()
        live.fold([period, facts.period("c2"), facts.start(), *facts.run(period, [4, 4])])
        origin = Origin(
            live=live,
            objects=Objects(store, live),
            audience=Audience(session_timeout_ms=10_000, sessions_max=50),
            latency=Latency(random.Random(1)),
            ask=lambda channel, *, low_latency: None,
            is_ready=lambda: True,
            now=lambda: UnixMs(facts.ZERO + 8_000),
            blocked_ms_max=Ms(1),
        )
        self.app = origin.app()

    async def ask(self, method: str, path: str, query: bytes, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body, as a server would hand over the request, without a client that tidies it."""
        scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(path), "raw_path": path.encode(), "query_string": query, "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()],
            "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        sent: list[Any] = []
        asked = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            for message in asked:
                return message
            return await asyncio.get_running_loop().create_future()  # the client stays

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return int(sent[0]["status"]), b"".join(message.get("body", b"") for message in sent[1:])


SITE, RUNNER = Site(), asyncio.Runner()


@given(
    method=st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "PUT"]),
    path=paths,
    query=queries,
    asked=ranges,
    body=st.binary(max_size=200),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_request_has_a_clear_answer(method: str, path: str, query: dict[str, str], asked: str | None, body: bytes) -> None:
    status, content = RUNNER.run(SITE.ask(method, path, urlencode(query).encode(), {} if asked is None else {"range": asked}, body))
    assert status in CLEAR
    assert SECRET not in content


@given(start=st.integers(0, 12), end=st.integers(0, 12) | st.none())
@settings(max_examples=60, deadline=None)
def test_a_range_is_what_it_says(start: int, end: int | None) -> None:
    wanted = f"bytes={start}-{'' if end is None else end}"
    status, content = RUNNER.run(SITE.ask("GET", "/c1/0/v0/0.m4s", b"", {"range": wanted}, b""))
    whole = b"0123456789"
    if end is not None and end < start:
        assert (status, content) == (200, whole)
    elif start >= len(whole):
        assert status == 416
    else:
        assert (status, content) == (206, whole[start : None if end is None else end + 1])
