"""Real players in real Chromium, driven by play.mjs: started, waited for, judged by what was measured from outside."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from infra.process import spawn, terminate
from infra.tally import Tally
from tests.line import Line

HERE = Path(__file__).parent
# Screenshots of four pages take a busy machine this long.
RESULT_S = 60.0
# A second or two on a free machine; play.mjs gives up a little earlier and says who is silent.
START_S = 100.0
# The time shift buffer, which a page that fell back may play at the end of, one of a segment, a rest for what a busy machine adds.
SEEN_S = 90.0
MARGIN_S = 30.0
# A playhead that has media and does not move for longer than a busy machine explains.
STUCK_S = 3.0


class Stage:
    """
    Pages that play in one browser.

    Args:
        line: Its origin serves them; what it says is heard while they play.
        folder: For specification, result and screenshots.
        pages: Query of the watch page by name.
        seconds: They end by themselves after this time.
        choose_s: Each is made to switch to its next rendition so often; 0: never.
        logs: What players tell of their own doing is kept where something went wrong.
    """

    def __init__(
        self, line: Line, folder: Path, pages: Mapping[str, str], *, seconds: float = 240, choose_s: float = 0, logs: bool = False
    ) -> None:
        self._line = line
        self._folder = folder
        self.names = tuple(pages)
        self._behind: set[str] = set()
        spec = {
            "chromium": shutil.which("chromium"),
            "seconds": seconds,
            "choose_s": choose_s,
            "logs": logs,
            "pages": [{"name": name, "url": f"{line.run.origin_url}/?{query}"} for name, query in pages.items()],
            "screenshots": str(folder),
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        with (folder / "play.log").open("wb") as log:
            self._process = spawn(["node", HERE / "play.mjs", folder / "spec.json", folder / "result.json"], stdout=log, stderr=log)

    def all_play(self) -> None:
        """Return when every page plays."""
        self.until(lambda _: all(f"{name} playing" in self.said for name in self.names), what="playing", timeout_s=START_S)

    def until(self, ask: Callable[[Tally], bool], *, what: str, timeout_s: float = 60) -> None:
        """As `Line.until`, while the pages play."""

        def answer(tally: Tally) -> bool:
            assert self._process.poll() is None, self.said
            assert "silent" not in self.said, self.said
            return ask(tally)

        self._line.until(answer, what=what, timeout_s=timeout_s)

    def play_on(self, seconds: float) -> None:
        """Let it play for some time."""
        over = time.monotonic() + seconds
        self.until(lambda _: time.monotonic() >= over, what="end of play", timeout_s=seconds + 60)

    def until_seen(self, *, more_s: float = 0.0) -> None:
        """Return when every page shows what is taken now, and so much of what is taken after it; one that does not soon is judged so."""
        wanted_ms = 1_000 * (time.time() + more_s)
        self._until_all(lambda name: self.shown_unix_ms(name) >= wanted_ms, what="seen by all", timeout_s=SEEN_S + more_s)

    def until_over(self) -> None:
        """Return when every page has played to the end of its channel; one that does not soon is judged so."""
        self._until_all(lambda name: f"{name} ended\n" in self.said, what="the end in all pages", timeout_s=SEEN_S)

    def _until_all(self, has: Callable[[str], bool], *, what: str, timeout_s: float) -> None:
        over = time.monotonic() + timeout_s
        self.until(lambda _: all(map(has, self.names)) or time.monotonic() >= over, what=what, timeout_s=timeout_s + MARGIN_S)
        self._behind |= {name for name in self.names if not has(name)}

    def shown_unix_ms(self, name: str) -> int:
        """When what a page shows was taken; 0 if it never said."""
        return max((int(at) for at in re.findall(rf"^{re.escape(name)} shows (\d+)$", self.said, re.MULTILINE)), default=0)

    def end(self) -> dict[str, dict[str, Any]]:
        """
        What each page saw, by its name; ``behind``: it did not come to where it was waited for.

        A browser that takes too long to draw its screenshots goes without them: what was seen is written before.
        """
        result = self._folder / "result.json"
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(RESULT_S)
        assert self._process.poll() in {0, None}, self.said
        assert result.exists(), f"the browser told nothing within {RESULT_S:.0f} s\n{self.said}"
        seen = json.loads(result.read_text())
        return {page["name"]: page | {"behind": page["name"] in self._behind} for page in seen}

    def close(self) -> None:
        """End the browser, whatever it does."""
        terminate(self._process, timeout_s=RESULT_S)

    @property
    def said(self) -> str:
        """What the driver wrote."""
        return (self._folder / "play.log").read_text()


@contextmanager
def playing(
    line: Line, folder: Path, pages: Mapping[str, str], *, seconds: float = 240, choose_s: float = 0, logs: bool = False
) -> Iterator[Stage]:
    """Pages that all play; the browser ends with the context, the pages after so many seconds at the latest."""
    stage = Stage(line, folder, pages, seconds=seconds, choose_s=choose_s, logs=logs)
    try:
        stage.all_play()
        yield stage
    finally:
        stage.close()


def assert_smooth(page: Mapping[str, Any], *, at_least_s: float = 10.0, is_advisory: bool = False) -> None:
    """It played without an error, a stall or a jump of the playhead; the last two do not count where they are advisory."""
    told = figures(page)
    assert page["started"], told
    assert page["played_s"] >= at_least_s, told
    assert not page["behind"], told
    assert not page["errors"], told
    assert is_advisory or not page["jumps"], told
    assert is_advisory or not page["stalls"], told
    assert all(hitch["seconds"] < STUCK_S for hitch in page["hitches"]), told


def figures(page: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured from outside, and the latency at the end."""
    return {key: value for key, value in page.items() if key != "page"} | {"latency_s": page["page"]["latency_s"]}
