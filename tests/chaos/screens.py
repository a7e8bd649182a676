"""Real pages that play while things go wrong: hls.js, dash.js and Shaka Player in Chromium, of the hot channel."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.audience import Heard, Stall
from tests.chaos.cast import HOT, PROBLEM_CHARS, Cast
from tests.players.scenarios import is_low_latency, pages
from tests.players.stage import Stage, playing

# At most three pages at a time: each takes a good part of a core.
GROUPS: Mapping[str, tuple[str, ...]] = {"plain": ("hls.js", "dash.js", "shaka"), "ll": ("hls.js-ll", "dash.js-ll", "shaka-ll")}
# Pages are played for longer than the story, whose faults may last longer than planned.
MORE_S = 600.0


@contextmanager
def on_screens(cast: Cast, folder: Path, group: str, *, seconds: float) -> Iterator[Stage | None]:
    """
    Pages of a group that all play, None if the group is empty; their origin is spared: a page knows but one.

    Pages of which one never plays are a problem of the run, which goes on without any.
    """
    with ExitStack() as stack:
        stage = None
        if group:
            cast.spared.add("origin")
            wanted = pages(*GROUPS[group], channel=HOT)
            try:
                stage = stack.enter_context(playing(cast.line, folder, wanted, seconds=seconds + MORE_S))
            except AssertionError as error:
                cast.problems.append(f"not all pages played: {error}"[:PROBLEM_CHARS])
        yield stage


def end(stage: Stage, heard: Heard) -> dict[str, dict[str, Any]]:
    """What each page saw, once all of them show what is taken now; their stalls go to those of the audience."""
    stage.until_seen()
    seen = stage.end()
    for name, page in seen.items():
        viewer = f"{HOT}-{'ll' if is_low_latency(name) else 'hls'}-page-{name}"
        heard.played_s[viewer] = page.get("played_s", 0.0)
        heard.stalls += [_stall(viewer, page["began_unix_s"], stall) for stall in page.get("stalls", ())]
    return {
        name: {"started": page["started"], "behind": page["behind"], "errors": page["errors"], "hitches": len(page.get("hitches", ()))}
        for name, page in seen.items()
    }


def told(seen: Mapping[str, Mapping[str, Any]]) -> tuple[bool, str]:
    """
    Whether every page played to the end, and what went wrong in any.

    What a player told of a time in which nothing came is no fault of what came, if it played on.

    >>> page = {"started": True, "behind": False, "errors": []}
    >>> told({"dash.js": page, "hls.js": page | {"errors": [{"at_s": 9.5, "code": "levelLoadError", "fatal": True}]}})
    (True, 'hls.js played on: 1 x levelLoadError (fatal) from 9.5 s')
    >>> told({"hls.js": page | {"behind": True}})
    (False, 'hls.js did not play to the end')
    """
    odd = [f"{name} {_trouble(page)}" for name, page in sorted(seen.items()) if page["errors"] or page["behind"] or not page["started"]]
    is_kept = all(page["started"] and not page["behind"] for page in seen.values())
    return is_kept, "; ".join(odd) or f"{len(seen)} pages played on"


def _trouble(page: Mapping[str, Any]) -> str:
    """
    What was wrong with a page, errors of one kind together.

    >>> network = {"at_s": 9.5, "code": 1001, "fatal": False, "text": "503"}
    >>> _trouble({"started": True, "behind": True, "errors": [network, network | {"at_s": 12.0, "fatal": True}]})
    'did not play to the end: 1 x 1001 from 9.5 s, 1 x 1001 (fatal) from 12.0 s'
    """
    kinds: dict[str, list[float]] = {}
    for error in page["errors"]:
        known = error if isinstance(error, dict) else {"code": error}
        kinds.setdefault(f"{known['code']}{' (fatal)' if known.get('fatal') else ''}", []).append(known.get("at_s", 0.0))
    how = "never began" if not page["started"] else "did not play to the end" if page["behind"] else "played on"
    return ": ".join([how, ", ".join(f"{len(at)} x {kind} from {min(at)} s" for kind, at in kinds.items())] if kinds else [how])


def _stall(viewer: str, began_unix_s: float, stall: Mapping[str, float]) -> Stall:
    until_s = began_unix_s + stall["until_s"]
    return Stall(channel=HOT, viewer=viewer, begin_unix_ms=round((until_s - stall["seconds"]) * 1_000), end_unix_ms=round(until_s * 1_000))
