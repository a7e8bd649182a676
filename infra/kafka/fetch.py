"""The jars of the pinned Apache Kafka release: fetched once, each checked against its checksum."""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import DownloadError

# Every jar is pinned: resolving from the one Kafka coordinate, jgo 3.2.0 picks older versions of its dependencies.
COORDINATES = Path(__file__).with_name("coordinates.txt")
CHECKSUMS = Path(__file__).with_name("checksums.txt")

ATTEMPTS_MAX = 3
TIMEOUT_S = 60
# A repository answers several requests at once; more than this is impolite and no faster.
PARALLEL_MAX = 4

Progress = Callable[[int, int], None]
"""Told (jars at hand, jars wanted) from the calling thread."""


@dataclass(frozen=True, kw_only=True)
class Jar:
    """One pinned jar."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """File name, the same in the repository and here."""
        return f"{self.artifact}-{self.version}.jar"


def pinned(coordinates: str, checksums: str) -> tuple[Jar, ...]:
    """
    The jars of a list of ``group:artifact:version`` lines and one of ``sha256  file`` lines.

    Raises:
        KeyError: A coordinate has no checksum.

    >>> [jar.name for jar in pinned("org.lz4:lz4-java:1.8.0", "ab12  lz4-java-1.8.0.jar")]
    ['lz4-java-1.8.0.jar']
    """
    sums = {name: digest for digest, name in (line.split() for line in checksums.splitlines())}
    triples = (line.split(":") for line in coordinates.splitlines())
    return tuple(Jar(group=g, artifact=a, version=v, sha256=sums[f"{a}-{v}.jar"]) for g, a, v in triples)


def kafka_jars() -> tuple[Jar, ...]:
    """The jars of the release we run."""
    return pinned(COORDINATES.read_text(), CHECKSUMS.read_text())


def ensure_jars(cache_dir: Path, progress: Progress | None = None) -> Path:
    """
    Directory holding exactly the pinned jars, fetching those that are missing or damaged.

    Several processes may call it at once: one fetches, the others wait.

    Raises:
        DownloadError: The repository cannot be reached, or what it sent is not what was pinned. What is already here is kept.
    """
    jars = kafka_jars()
    release = next(jar.version for jar in jars if jar.artifact.startswith("kafka_"))
    target = cache_dir / f"kafka-{release}"
    target.mkdir(parents=True, exist_ok=True)
    with locked(target):
        wanted = {jar.name for jar in jars}
        for stranger in (path for path in target.glob("*.jar") if path.name not in wanted):
            stranger.unlink()
        missing = [jar for jar in jars if not is_intact(target / jar.name, jar.sha256)]
        if missing:
            _fetch_all(missing, target, lambda done: progress and progress(len(jars) - len(missing) + done, len(jars)))
    return target


def is_intact(path: Path, sha256: str) -> bool:
    """The file is there and has this content."""
    return path.is_file() and _digest(path) == sha256


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Only one process at a time works in the directory; the kernel frees it when the holder dies."""
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_all(jars: list[Jar], target: Path, progress: Callable[[int], object]) -> None:
    # The resolver writes straight to its final path, so its own cache lives only as long as this call.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target) as scratch, ThreadPoolExecutor(PARALLEL_MAX) as pool:
        for done, _ in enumerate(pool.map(lambda jar: _fetch(jar, target, Path(scratch)), jars), start=1):
            progress(done)


def _fetch(jar: Jar, target: Path, scratch: Path) -> None:
    source = _download(jar, scratch)
    if not is_intact(source, jar.sha256):
        raise DownloadError(
            f"{jar.name} has sha256 {_digest(source)}, pinned is {jar.sha256}",
            do="find out why the repository, or something on the way, serves another file",
        )
    part = target / f"{jar.name}.part"
    shutil.copyfile(source, part)
    part.replace(target / jar.name)


def _download(jar: Jar, scratch: Path) -> Path:
    from jgo.maven import MavenContext
    from requests import RequestException

    failure: Exception | None = None
    for attempt in range(ATTEMPTS_MAX):
        # A fresh cache for each attempt: one that broke off leaves a short file which the resolver would take for whole.
        context = MavenContext(repo_cache=scratch / f"{attempt}", timeout=TIMEOUT_S)
        try:
            return context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        except (RequestException, RuntimeError, OSError) as error:
            failure = error
    raise DownloadError(
        f"could not fetch {jar.name} from the Maven repository after {ATTEMPTS_MAX} attempts ({failure})",
        do="check the network and proxy settings and run again; what was fetched is kept",
    ) from failure


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
