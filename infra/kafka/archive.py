"""A class archive per JVM and jar set: trained once, it halves every later start of the broker."""

import hashlib
import tempfile
from pathlib import Path

from .broker import LocalBroker, Runtime
from .fetch import CHECKSUMS, locked
from .java import Java

# From this Java on the archive holds linked classes and profiles (JEP 514); before, class data only (JEP 350).
AOT_MAJOR_MIN = 25
# Archives take 50 to 70 MB; those of Javas no longer used go.
ARCHIVES_MAX = 2
# The JVM writes the archive as it exits.
TRAINING_STOP_TIMEOUT_S = 120.0


def ensure_archive(cache_dir: Path, java: Java, jars: Path) -> tuple[str, ...]:
    """
    JVM flags that use the archive, training it first if there is none.

    Empty when the JVM cannot write one: starts are then a second slower and nothing else differs.
    """
    directory = cache_dir / "class-archives"
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory):
        archive = directory / _name(java, jars)
        if not archive.exists():
            _train(archive, java, jars)
            for old in sorted(directory.glob("kafka-*"), key=lambda path: path.stat().st_mtime)[:-ARCHIVES_MAX]:
                old.unlink()
    return _flags(java, archive, train=False) if archive.exists() else ()


def _name(java: Java, jars: Path) -> str:
    # The JVM itself refuses an archive of another build, class path or jar; the name keeps them apart.
    key = "\n".join([java.banner, str(jars.resolve()), CHECKSUMS.read_text()])
    return f"kafka-{java.major}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.archive"


def _flags(java: Java, archive: Path, *, train: bool) -> tuple[str, ...]:
    if java.major >= AOT_MAJOR_MIN:
        # What of the archive does not fit is compiled as usual; said at length, it would bury the broker's own log.
        return f"-XX:{'AOTCacheOutput' if train else 'AOTCache'}={archive.absolute()}", "-Xlog:aot*=error"
    return (f"-XX:{'ArchiveClassesAtExit' if train else 'SharedArchiveFile'}={archive.absolute()}",)


def _train(archive: Path, java: Java, jars: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".train-", dir=archive.parent) as scratch:
        trained = Path(scratch) / archive.name
        runtime = Runtime(java=java, jars=jars)
        broker = LocalBroker(Path(scratch) / "broker", runtime, jvm_flags=_flags(java, trained, train=True))
        broker.start()
        broker.stop(TRAINING_STOP_TIMEOUT_S)
        if trained.exists():
            trained.replace(archive)
