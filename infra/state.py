"""What a local run leaves for other commands: who runs, where, with which settings; in one small file."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.kafka import kept, prepare
from infra.process import started_at
from schemas.errors import UserError
from schemas.settings import Settings, load

# Beside the Makefile, which fills it: Kafka, the clip and its recording are fetched or made once for all runs.
CACHE = Path(".cache")
FILE = "run.json"
# A past log is only read: the broker must not delete what has grown old since.
READ_ONLY = {"log.initial.task.delay.ms": str(24 * 3_600_000), "log.retention.check.interval.ms": str(24 * 3_600_000)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """
    One process of a run.

    Attributes:
        name: Unique in the run.
        pid: Process id.
        role: What it is: kafka, control, origin, packager, encode or audience.
        log: File of what it says.
        drains: Whether it was told to finish and leave.
    """

    name: str
    pid: int
    role: str
    log: str
    drains: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """
    A local run, living or past.

    Attributes:
        run_id: Name of its folder.
        pid: Process that supervises it.
        started_at: Start of that process in clock ticks since boot; with the id it names one process for good.
        directory: Where its log, store and logs are.
        environment: Settings that differ from those of the shell it was started in.
        addresses: Where things are, by what they are.
        processes: Its processes.
        packagers_wanted: How many packagers its planner wants, if it follows that.
    """

    run_id: str
    pid: int
    started_at: int | None
    directory: str
    environment: dict[str, str]
    addresses: dict[str, str]
    processes: tuple[Process, ...]
    packagers_wanted: int | None = None

    @property
    def is_alive(self) -> bool:
        """Its supervisor still lives."""
        return self.started_at is not None and started_at(self.pid) == self.started_at

    def settings(self) -> Settings:
        """The settings its processes run with; what the caller's environment says wins."""
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)
        return load()


def write(state_dir: Path, run: Run) -> None:
    """Leave word of a run, whole or not at all."""
    state_dir.mkdir(parents=True, exist_ok=True)
    part = state_dir / f"{FILE}.part"
    part.write_text(json.dumps(asdict(run), indent=1))
    part.replace(state_dir / FILE)


def read(state_dir: Path) -> Run | None:
    """The last run of this folder, living or past; None if there was none."""
    path = state_dir / FILE
    if not path.exists():
        return None
    plain = json.loads(path.read_text())
    return Run(**{**plain, "processes": tuple(Process(**process) for process in plain["processes"])})


def settings_at_hand() -> Settings:
    """
    The settings of this shell or, when they name no cluster, those of the run that lives in this folder.

    Raises:
        UserError: No cluster is named and nothing runs here.
    """
    settings = load()
    if settings.kafka.bootstrap_servers:
        return settings
    run = read(settings.state_dir)
    if run is None or not run.is_alive:
        raise UserError(
            "no Kafka cluster is named and nothing runs in this folder", do="`finecut up`, or set FINECUT_KAFKA__BOOTSTRAP_SERVERS"
        )
    return run.settings()


def store_at_hand() -> Settings:
    """The settings of this shell or, when they name no store, those of the run of this folder, living or past."""
    settings = load()
    run = read(settings.state_dir)
    return settings if run is None or "directory" in settings.store.model_fields_set else run.settings()


@contextmanager
def log_at_hand() -> Iterator[Settings]:
    """
    Settings whose cluster holds the log to read: as `settings_at_hand`, else that of the last run, started for as long as this is used.

    Raises:
        UserError: No cluster is named and nothing ever ran here.
    """
    settings = load()
    run = read(settings.state_dir)
    log = Path(run.directory) / "kafka" if run else None
    if settings.kafka.bootstrap_servers or run is None or run.is_alive or log is None or not log.exists():
        yield settings_at_hand()
        return
    with kept(log, prepare(CACHE), overrides=READ_ONLY) as broker:
        os.environ["FINECUT_KAFKA__BOOTSTRAP_SERVERS"] = broker.bootstrap
        yield run.settings()
