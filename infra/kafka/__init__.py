"""Real Apache Kafka on this machine: fetch the pinned release, find a Java, run one broker or a cluster."""

from pathlib import Path

from .archive import ensure_archive
from .broker import LocalBroker, Runtime
from .cluster import LocalCluster, kept
from .errors import BrokerDiedError, DataDirInUseError, DiskFullError, DownloadError, JavaMissingError, LocalKafkaError, PortTakenError
from .fetch import Progress, ensure_jars
from .java import Java, find_java

__all__ = [
    "BrokerDiedError",
    "DataDirInUseError",
    "DiskFullError",
    "DownloadError",
    "Java",
    "JavaMissingError",
    "LocalBroker",
    "LocalCluster",
    "LocalKafkaError",
    "PortTakenError",
    "Runtime",
    "find_java",
    "kept",
    "prepare",
]


def prepare(cache_dir: Path, progress: Progress | None = None) -> Runtime:
    """
    Everything a broker needs, fetched and trained into the cache if it is not there yet.

    The first call takes about 20 s and the network; later ones a quarter of a second.

    Raises:
        JavaMissingError: No Java 17 or newer.
        DownloadError: A jar could not be fetched.
    """
    java = find_java()
    jars = ensure_jars(cache_dir, progress)
    return Runtime(java=java, jars=jars, archive_flags=ensure_archive(cache_dir, java, jars))
