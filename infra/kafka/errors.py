"""What can keep the embedded Kafka from running; each says what to do."""

from pathlib import Path

from schemas.errors import UserError


class LocalKafkaError(UserError):
    """The embedded Kafka cannot run."""


class DownloadError(LocalKafkaError):
    """A jar could not be fetched, or is not the one that was pinned."""


class JavaMissingError(LocalKafkaError):
    """No JVM of a usable version."""


class PortTakenError(LocalKafkaError):
    """Another process listens on a port this broker was to have."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is taken", do=f"stop what listens there (`ss -ltnp 'sport = :{port}'` names it) or choose another")
        self.port = port


class DataDirInUseError(LocalKafkaError):
    """A living broker already runs on the data directory."""

    def __init__(self, data_dir: Path, pid: int) -> None:
        super().__init__(f"Kafka already runs on {data_dir} as process {pid}", do="stop it or choose another directory")
        self.data_dir = data_dir
        self.pid = pid


class DiskFullError(LocalKafkaError):
    """Too little space for the log."""

    def __init__(self, data_dir: Path, detail: str) -> None:
        super().__init__(f"disk full at {data_dir}: {detail}", do="free some space, or remove the directory to start with an empty log")
        self.data_dir = data_dir


class BrokerDiedError(LocalKafkaError):
    """The broker process ended by itself, or never answered."""

    def __init__(self, what: str, log: Path, tail: str) -> None:
        super().__init__(f"Kafka {what}", do=f"read the end of {log}:\n{tail}")
        self.log = log
        self.tail = tail
