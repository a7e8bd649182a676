"""
From the encoder's frame to the picture on the screen, ours beside others, in one run.

    python -m tests.bench.latency [--stay 12] [--pages 2] [--result FILE]

One encoder draws the time into every frame and sends what it encoded to all stacks at once: into our log, by RTMP to MediaMTX if
MEDIAMTX_BIN names one, and to FFmpeg's low-latency DASH in an origin that serves what still grows. Real players in real Chromium show
them, two at a time and in mixed order, and the time is read back from the screen. Nothing is tuned: we and MediaMTX have our defaults,
which are parts of other lengths, so each is shown a second time with parts as long as the other's; FFmpeg has what its documentation
says for low latency, with a target of 1 s.
"""

import argparse
import json
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from infra.kafka import LocalBroker, prepare
from infra.kafka.ports import free_ports
from infra.process import spawn, terminate
from infra.processes import tail
from tests.bench.programs import AbsentError, ffmpeg, mediamtx, version
from tests.line import CACHE, Line, whole_line

CHANNEL, FINE = "clock", "clock-fine"
HLS, DASH = {"hls.js": "hls/ll", "Shaka": "shaka/ll"}, {"dash.js": "dash/ll", "Shaka": "shaka/ll-dash"}
OUR_PARTS_MS, THEIR_PARTS_MS = 500, 200
OURS = {CHANNEL: (OUR_PARTS_MS, "default"), FINE: (THEIR_PARTS_MS, "as MediaMTX")}
MEDIAMTX_PARTS_MS = {"default": THEIR_PARTS_MS, "as ours": OUR_PARTS_MS}
FRAGMENT_S = 0.2
SEGMENT_S = 2
# Players come to their latency by and by; what they show before does not count.
SETTLE_S = 5.0
# No show begins after this time. The rest is for those under way.
SHOWING_S = 140.0
LIMIT_S = SHOWING_S + 60.0
READY_S = 45.0
CONSOLE = Path(__file__).parents[2] / "packager" / "origin" / "console"
DRIVER = Path(__file__).parents[1] / "players" / "latency.mjs"
PLAYWRIGHT = DRIVER.parent / "node_modules" / "playwright-core"
MEDIAMTX = """
logLevel: info
rtsp: no
webrtc: no
srt: no
moq: no
rtmp: yes
rtmpAddress: 127.0.0.1:{rtmp}
rtmpEncryption: "no"
hls: yes
hlsAddress: 127.0.0.1:{hls}
hlsVariant: lowLatency
hlsAlwaysRemux: yes
hlsPartDuration: {part_ms}ms
paths:
  all_others:
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """
    Somebody who packages.

    Attributes:
        name: As the table has it.
        url: Of its manifest.
        players: Choice of the watch page by player.
        takes: Where the encoder sends; our own log has no address.
    """

    name: str
    url: str
    players: Mapping[str, str]
    takes: str = ""


def shows(stacks: Sequence[Stack]) -> list[dict[str, Any]]:
    """
    Every player of every stack, those of one stack far from each other.

    >>> stacks = [Stack(name=name, url="", players={"p": "", "q": ""}) for name in "ab"]
    >>> [one["name"] for one in shows(stacks)]
    ['a p', 'b p', 'a q', 'b q']
    """
    each = [[(stack, player, choice) for player, choice in stack.players.items()] for stack in stacks]
    ordered = [one for row in zip_longest(*each) for one in row if one is not None]
    return [
        {"name": f"{stack.name} {player}", "stack": stack.name, "player": player, "choice": choice, "url": stack.url}
        for stack, player, choice in ordered
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """
    Nearest rank.

    >>> quantile([3, 1, 2], 0.5), quantile(range(1, 101), 0.95)
    (2, 95)
    """
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * round(share * 100) // 100) - 1)]


def rows(results: Sequence[Mapping[str, Any]], *, settle_s: float = SETTLE_S) -> Iterator[dict[str, Any]]:
    """
    What the table says of each show.

    >>> show = {"stack": "s", "player": "p", "version": "p 1", "join_s": 0.5, "joined": 0, "stalls": [], "jumps": [], "errors": []}
    >>> [row] = rows([show | {"seen": [[1_000, 9_000], [6_000, 2_000], [7_000, 2_400]]}])
    >>> row["p50_s"], row["p95_s"], row["frames"]
    (2.0, 2.4, 2)
    """
    for one in sorted(results, key=lambda one: str(one["stack"])):
        late_s = [late / 1_000 for at, late in one["seen"] if at >= one["joined"] + settle_s * 1_000]
        yield {
            "stack": one["stack"],
            "player": one["version"] or one["player"],
            "p50_s": quantile(late_s, 0.5) if late_s else None,
            "p95_s": quantile(late_s, 0.95) if late_s else None,
            "join_s": one["join_s"],
            "stalls": len(one["stalls"]),
            "stalled_s": sum(stall["seconds"] for stall in one["stalls"]),
            "jumps": len(one["jumps"]),
            "frames": len(late_s),
            "errors": [error["text"] for error in one["errors"] if error.get("fatal")],
        }


def tell(results: Sequence[Mapping[str, Any]], *, wanted: int) -> None:
    """Print the table."""
    print(f"\n{'stack':<50} {'player':<24} {'p50':>7} {'p95':>7} {'join':>7} {'stalls':>12} {'jumps':>6} {'frames':>7}")
    for row in rows(results):
        times = " ".join("      -" if row[name] is None else f"{row[name]:>5.2f} s" for name in ("p50_s", "p95_s", "join_s"))
        stalls = f"{row['stalls']} ({row['stalled_s']:.1f} s)" if row["stalls"] else "0"
        print(f"{row['stack']:<50} {row['player']:<24} {times} {stalls:>12} {row['jumps']:>6} {row['frames']:>7}")
        for text in row["errors"]:
            print(f"    {text[:150]}")
    print("frames: those read from the screen, every fourth, from 5 s after the join on")
    if len(results) < wanted:
        print(f"{len(results)} of {wanted} were shown in time")


def ours(line: Line) -> list[Stack]:
    """Both kinds of our manifests."""
    told = {one["channel"]: one for one in json.loads(line.get("/api/channels")[1])["channels"]}
    return [
        Stack(
            name=f"finecut {kind}, parts {part_ms} ms, {why}",
            url=f"{line.run.origin_url}/{told[channel][key].lstrip('/')}",
            players=players,
        )
        for channel, (part_ms, why) in OURS.items()
        for kind, key, players in (("LL-HLS", "ll_hls", HLS), ("LL-DASH", "ll_dash", DASH))
    ]


@contextmanager
def others(folder: Path) -> Iterator[list[Stack]]:
    """Whoever is here, running; the rest is told to be left out."""
    found, ports = [], free_ports()
    with ExitStack() as stack:
        try:
            program = mediamtx()
            for why, part_ms in MEDIAMTX_PARTS_MS.items():
                rtmp, hls = next(ports), next(ports)
                file = folder / f"mediamtx-{part_ms}.yml"
                file.write_text(MEDIAMTX.format(rtmp=rtmp, hls=hls, part_ms=part_ms))
                _run(stack, folder, [program, file])
                name = f"MediaMTX {version(program)} LL-HLS, parts {part_ms} ms, {why}"
                url = f"http://127.0.0.1:{hls}/{CHANNEL}/index.m3u8"
                found.append(Stack(name=name, url=url, players=HLS, takes=f"rtmp://127.0.0.1:{rtmp}/{CHANNEL}"))
        except AbsentError as absent:
            print(f"MediaMTX is left out: {absent}")
        try:
            program = ffmpeg()
            port, flv = next(ports), next(ports)
            _run(stack, folder, [sys.executable, "-m", "tests.bench.growing", port])
            _until_there(f"http://127.0.0.1:{port}/time")
            _run(stack, folder, [program, *_low_latency_dash(f"http://127.0.0.1:{port}", f"tcp://127.0.0.1:{flv}?listen=1")])
            name = f"FFmpeg {version(program)} LL-DASH, fragments {FRAGMENT_S * 1_000:.0f} ms"
            found.append(
                Stack(name=name, url=f"http://127.0.0.1:{port}/{CHANNEL}.mpd", players=DASH, takes=f"tcp://127.0.0.1:{flv}?tcp_nodelay=1")
            )
        except AbsentError as absent:
            print(f"FFmpeg is left out: {absent}")
        yield found


def _low_latency_dash(origin: str, source: str) -> list[str]:
    """As FFmpeg's documentation has it for low latency."""
    return [
        "-hide_banner", "-loglevel", "warning", "-fflags", "nobuffer", "-probesize", "32", "-analyzeduration", "0",
        "-f", "flv", "-i", source, "-c", "copy", "-f", "dash", "-ldash", "1", "-streaming", "1", "-use_template", "1", "-use_timeline", "0",
        "-seg_duration", str(SEGMENT_S), "-frag_type", "duration", "-frag_duration", str(FRAGMENT_S), "-target_latency", "1",
        "-write_prft", "1", "-utc_timing_url", f"{origin}/time", "-window_size", "10", "-extra_window_size", "10",
        "-method", "PUT", "-http_persistent", "0", f"{origin}/{CHANNEL}.mpd",
    ]  # fmt: skip


def _run(stack: ExitStack, folder: Path, command: Sequence[object]) -> None:
    with (folder / "others.log").open("ab") as log:
        process = spawn([str(word) for word in command], stdout=log, stderr=log)
    stack.callback(terminate, process, timeout_s=5)


def _is_there(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own machine
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _until_there(url: str) -> None:
    from tests.broker.packaging import until

    until(lambda: _is_there(url), what=url, timeout_s=READY_S)


def measure(line: Line, folder: Path, *, stay_s: float, pages: int) -> tuple[list[dict[str, Any]], int]:
    """What every show saw, and how many were wanted."""
    named = [f"--channel={name}={part_ms}" for name, (part_ms, _) in OURS.items()]
    with others(folder) as peers, (folder / "clock.log").open("wb") as log:
        clock = spawn([sys.executable, "-m", "tests.bench.clock", *named, *(peer.takes for peer in peers)], stdout=log, stderr=log)
        try:
            line.goes_on(*OURS, segments=3)
            stacks = [*ours(line)]
            for peer in peers:
                try:
                    line.until(lambda _, url=peer.url: _is_there(url), what=peer.url, timeout_s=READY_S)  # type: ignore[misc]
                    stacks.append(peer)
                except AssertionError:
                    print(f"{peer.name} is left out: it shows nothing; it says:\n{tail(folder / 'others.log')}")
            wanted = shows(stacks)
            spec = {
                "chromium": shutil.which("chromium"), "console": str(CONSOLE), "pages": pages, "seconds": SHOWING_S,
                "stay_s": stay_s, "shows": wanted,
            }  # fmt: skip
            (folder / "spec.json").write_text(json.dumps(spec))
            with (folder / "shows.log").open("wb") as told:
                driver = spawn(["node", DRIVER, folder / "spec.json", folder / "result.json"], stdout=told, stderr=told)
            try:
                line.until(lambda _: driver.poll() is not None, what="end of all shows", timeout_s=LIMIT_S)
            finally:
                terminate(driver, timeout_s=20)
            if driver.returncode:
                raise RuntimeError(f"latency.mjs ended with status {driver.returncode}:\n{tail(folder / 'shows.log')}")
            if clock.poll() is not None:
                raise RuntimeError(f"the encoder ended with status {clock.returncode}:\n{tail(folder / 'clock.log')}")
        finally:
            terminate(clock, timeout_s=20)
        told_of = (folder / "clock.log").read_text()
        for word in ("outlet_lost", "outlet_absent"):
            if word in told_of:
                print(f"the encoder lost one who took from it: {[row for row in told_of.splitlines() if word in row]}")
    return json.loads((folder / "result.json").read_text()), len(wanted)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stay", type=float, default=12.0, help="seconds that each is watched")
    parser.add_argument("--pages", type=int, default=2, help="how many are watched at a time")
    parser.add_argument("--result", type=Path, help="write what every show saw to this file, as JSON")
    arguments = parser.parse_args()
    if shutil.which("chromium") is None or shutil.which("node") is None or not PLAYWRIGHT.is_dir():
        print("left out: needs Chromium and Node.js on the path, and what `make test` fetches for the tests with real players")
        return
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "kafka", prepare(CACHE)) as broker:
        folder = Path(name)
        with whole_line(broker, folder, packagers=1) as line:
            results, wanted = measure(line, folder, stay_s=arguments.stay, pages=arguments.pages)
    if arguments.result:
        arguments.result.write_text(json.dumps(results))
    tell(results, wanted=wanted)


if __name__ == "__main__":
    main()
