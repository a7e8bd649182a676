"""What is reachable, in which version, what is wrong, and what to do about it."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.table import Table

from infra import looking, safety, state
from infra.finding import Finding, Mark, note
from infra.kafka.java import find_java
from infra.local import FREE_BYTES_MIN
from infra.topics import reach, verify, wanted_topics
from schemas.errors import UserError
from schemas.settings import Settings, load

PACKAGES = ("finecut", "faust-streaming", "river", "confluent-kafka", "aiokafka", "av", "fastavro", "granian", "aiohttp", "starlette")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WANTED_CORES = 2
STYLES = {Mark.FINE: "green", Mark.NOTE: "yellow", Mark.WRONG: "bold red"}


def show() -> int:
    """Print every finding; exit status 1 if anything is wrong."""
    findings = list(examine())
    table = Table("", "what", "found", box=None, pad_edge=False, header_style="dim")
    for finding in findings:
        table.add_row(
            f"[{STYLES[finding.mark]}]{finding.mark.value}[/]", finding.what, finding.found + (f"\n-> {finding.do}" if finding.do else "")
        )
    Console().print(table, highlight=False)
    return 1 if any(finding.mark is Mark.WRONG for finding in findings) else 0


def examine() -> Iterator[Finding]:
    """Everything looked at, in the order in which it is needed."""
    yield _machine()
    yield from _packages()
    yield _ffmpeg()
    yield _look("Java, for the embedded Kafka", _java)
    yield _browser()
    try:
        settings = load()
    except UserError as error:
        yield Finding(what="settings", mark=Mark.WRONG, found=error.problem, do=error.do)
        return
    yield from _settings(settings)
    run = state.read(settings.state_dir)
    yield from _disk(run.settings() if run is not None and run.is_alive else settings)
    if settings.kafka.bootstrap_servers or (run is not None and run.is_alive):
        yield from _kafka(state.settings_at_hand())
    else:
        yield Finding(
            what="Kafka", mark=Mark.NOTE, found="none is named and nothing runs here", do="`finecut demo` and `finecut up` bring their own"
        )


def _look(what: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, mark=Mark.FINE, found=probe())
    except UserError as error:
        return Finding(what=what, mark=Mark.WRONG, found=error.problem, do=error.do)


def _machine() -> Finding:
    cores = len(os.sched_getaffinity(0))
    found = f"Python {platform.python_version()} on {platform.machine()}, {cores} cores"
    if sys.platform != "linux":
        return Finding(
            what="machine",
            mark=Mark.WRONG,
            found=f"{found}, {sys.platform}",
            do="children are bound to their parent as Linux does it: use Linux",
        )
    if cores < WANTED_CORES:
        return Finding(what="machine", mark=Mark.NOTE, found=found, do=f"the demo wants {WANTED_CORES} cores; expect an encoder that lags")
    return Finding(what="machine", mark=Mark.FINE, found=found)


def _packages() -> Iterator[Finding]:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield Finding(what="packages", mark=Mark.FINE, found=", ".join(found))
    if missing:
        yield Finding(what="packages", mark=Mark.WRONG, found=f"missing: {', '.join(missing)}", do="`make env`")


def _ffmpeg() -> Finding:
    import av
    from av.codec import codecs_available

    missing = {"libx264", "aac"} - codecs_available
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, number))}"
        for name, number in sorted(av.library_versions.items())
        if name in {"libavcodec", "libavformat"}
    )
    if missing:
        return Finding(
            what="FFmpeg inside PyAV", mark=Mark.WRONG, found=f"no {' and no '.join(sorted(missing))}", do="install PyAV's own wheel"
        )
    return Finding(what="FFmpeg inside PyAV", mark=Mark.FINE, found=f"{libraries}, with libx264 and aac")


def _java() -> str:
    java = find_java()
    return f"{java.banner.splitlines()[0]} at {java.path}"


def _browser() -> Finding:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found:
        return Finding(what="Chromium, for the player tests", mark=Mark.FINE, found=found)
    return Finding(
        what="Chromium, for the player tests", mark=Mark.NOTE, found="none on the path", do="install chromium to run `make test`"
    )


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding(what="settings", mark=Mark.FINE, found="every relation holds")
    yield from safety.of_settings(settings)


def _disk(settings: Settings) -> Iterator[Finding]:
    for what, folder in (("disk for runs", settings.state_dir), ("disk for the store", settings.store.directory)):
        place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free
        short = free < max(settings.store.free_bytes_min, FREE_BYTES_MIN)
        yield Finding(
            what=what, mark=Mark.WRONG if short else Mark.FINE, found=f"{free / 2**30:.1f} GiB free at {place}",
            do="free some space, or set FINECUT_STATE_DIR and FINECUT_STORE__DIRECTORY" if short else "",
        )  # fmt: skip
    if not Path(state.CACHE).exists():
        yield Finding(
            what="cache", mark=Mark.NOTE, found=f"{state.CACHE} does not exist", do="the first start fetches Kafka and a clip: `make env`"
        )


def _kafka(settings: Settings) -> Iterator[Finding]:
    address = settings.kafka.bootstrap_servers
    try:
        admin = reach(settings.kafka)
    except UserError as error:
        yield Finding(what="Kafka", mark=Mark.WRONG, found=error.problem, do=error.do)
        return
    brokers = admin.list_topics(timeout=5).brokers
    yield Finding(what="Kafka", mark=Mark.FINE, found=f"{len(brokers)} broker{'s' if len(brokers) > 1 else ''} at {address}")
    names = [topic.name for topic in wanted_topics(settings)]
    yield from looked("topics", lambda: _topics(admin, settings))
    yield from looked("brokers", lambda: safety.of_cluster(looking.look(admin, names), settings))
    yield from looked("clocks", lambda: looking.clock(admin, settings))
    yield from looked("packagers", lambda: looking.lag(settings))


def looked(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a look finds, or that this user may not look or something is not there to be looked at."""
    try:
        yield from look()
    except KafkaException as error:
        yield note(what, f"not looked at: {error.args[0].str()}", "look with a user that may describe the cluster and its topics")
    except UserError as error:
        yield note(what, f"not looked at: {error.problem}", error.do)


def _topics(admin: AdminClient, settings: Settings) -> Iterator[Finding]:
    wanted = wanted_topics(settings)
    differences = verify(admin, wanted)
    if len([difference for difference in differences if not difference.found]) == len(wanted):
        yield Finding(what="topics", mark=Mark.WRONG, found="none exists", do="`finecut topics create`")
        return
    yield from safety.together(map(safety.of_difference, differences))
    if not differences:
        yield Finding(what="topics", mark=Mark.FINE, found=f"{len(wanted)} as they should be, stamped by the broker")
