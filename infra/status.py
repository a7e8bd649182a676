"""What runs here, as other programs and people read it."""

import json
import shlex
import urllib.request
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from infra import state
from infra.process import started_at
from infra.processes import Usage, measure
from infra.state import Run
from schemas.settings import load

ANSWER_S = 5.0
# Wider than any terminal: an address that is cut is none.
WIDTH = 1_000


def show_environment() -> int:
    """Print the settings of what runs here as a shell reads them; exit status 1 when nothing runs."""
    run = state.read(load().state_dir)
    if run is None or not run.is_alive:
        print("echo nothing runs in this folder >&2")
        return 1
    for name, value in sorted(run.environment.items()):
        print(f"export {name}={shlex.quote(value)}")
    return 0


def show(*, as_json: bool) -> int:
    """Print it; exit status 1 when nothing runs."""
    run = state.read(load().state_dir)
    plain = describe(run) if run is not None and run.is_alive else {"running": False}
    if as_json:
        print(json.dumps(plain, indent=2))
    elif plain["running"]:
        _tables(plain)
    else:
        print("nothing runs in this folder; `finecut up` starts everything")
    return 0 if plain["running"] else 1


def describe(run: Run) -> dict[str, Any]:
    """A living run: its processes, addresses, and channels with their URLs as the origin tells them now."""
    alive = [(process, measure(process.pid, Usage())) for process in run.processes if started_at(process.pid) is not None]
    return {
        "running": True,
        "run_id": run.run_id,
        "directory": run.directory,
        "environment": run.environment,
        "processes": [{**asdict(process), **asdict(usage)} for process, usage in alive],
        "packagers_wanted": run.packagers_wanted,
        "addresses": run.addresses,
        "channels": channels(run.addresses["origin"]),
    }


def channels(origin_url: str) -> list[dict[str, Any]]:
    """What the origin serves now; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"{origin_url}/api/channels", timeout=ANSWER_S) as answer:  # noqa: S310  # our own http address
            told = json.load(answer)
    except (OSError, ValueError):
        return []
    return [_absolute(channel, origin_url) for channel in told["channels"]]


def _absolute(channel: dict[str, Any], origin_url: str) -> dict[str, Any]:
    """The same, with every path made an URL."""
    return {key: f"{origin_url}{value}" if isinstance(value, str) and value.startswith("/") else value for key, value in channel.items()}


def _tables(plain: dict[str, Any]) -> None:
    console = Console()
    processes = Table("process", "role", "pid", "CPU s", "MB", box=None, pad_edge=False, header_style="dim")
    for row in plain["processes"]:
        role = f"{row['role']}, drains" if row["drains"] else row["role"]
        processes.add_row(row["name"], role, str(row["pid"]), f"{row['cpu_s']:.1f}", f"{row['rss_mb']:.0f}")
    console.print(processes)
    if plain["packagers_wanted"] is not None:
        working = sum(row["role"] == "packager" and not row["drains"] for row in plain["processes"])
        console.print(f"\npackagers: {working} at work, {plain['packagers_wanted']} wanted", highlight=False)
    console.print(f"\nlogs and data: {plain['directory']}", highlight=False, soft_wrap=True)
    for name, address in plain["addresses"].items():
        console.print(f"{name}: {address}", highlight=False, soft_wrap=True)
    channels = Table("channel", "state", "level", "segment", box=None, pad_edge=False, header_style="dim")
    channels.add_column("HLS; all others with --json")
    for channel in plain["channels"]:
        length = f"{channel['segment_s']:g} s" if channel["segment_s"] else "-"
        channels.add_row(channel["channel"], channel["state"], channel["level"], length, channel["hls"])
    if plain["channels"]:
        console.print()
        Console(width=WIDTH).print(channels)
