"""The error tree, grouped by what the caller must do next. Caught only in the shells; each carries the values that explain it."""

from enum import IntEnum


class Exit(IntEnum):
    """
    With what a process ends: whoever supervises it decides by it.

    All but `SUPERSEDED` are started again, after a while that grows; systemd: ``RestartPreventExitStatus=5``.
    """

    DONE = 0
    FAILED = 1  # a fault of ours, or of what we need
    USER = 2  # a person must put something right
    STUCK = 4  # the watchdog ended it
    SUPERSEDED = 5  # another does its work under the same name: started again, the two would fight
    MEMORY = 6  # it needed more memory than it may use; what it held is another's at once


class FinecutError(Exception):
    """Root of all our errors; its text is one sentence for a person."""


class UserError(FinecutError):
    """Something a person must put right (input, setting, machine): print the text and what to do, no traceback, exit 2."""

    status = Exit.USER

    def __init__(self, problem: str, *, do: str = "") -> None:
        super().__init__(f"{problem}\n  what to do: {do}" if do else problem)
        self.problem = problem
        self.do = do


class DisplacedError(UserError):
    """Another process does our work under the same name, and rightly so: end, and stay away."""

    status = Exit.SUPERSEDED


class UnreachableError(UserError):
    """No Kafka answers, said alike by every process: end; whoever supervises us starts us again, a person reads what to do."""

    status = Exit.FAILED

    def __init__(self, bootstrap_servers: str, why: str) -> None:
        super().__init__(
            f"no Kafka answers at {bootstrap_servers or '(no address is set)'}: {why}",
            do="start it (`finecut up` brings its own), or correct FINECUT_KAFKA__BOOTSTRAP_SERVERS",
        )


class RetryableError(FinecutError):
    """It may work later: wait ``retry_after_ms`` and retry, within one deadline shared by all attempts."""

    def __init__(self, problem: str, *, retry_after_ms: int) -> None:
        super().__init__(problem)
        self.retry_after_ms = retry_after_ms


class RejectedError(FinecutError):
    """Bad input: write it to ``finecut.rejects`` with its bytes and go on."""


class SupersededError(FinecutError):
    """Another holder is in force: stop the slice; harmless."""

    def __init__(self, what: str, *, held: int, seen: int) -> None:
        super().__init__(f"{what}: epoch {held} is superseded by {seen}")
        self.held = held
        self.seen = seen


class LifeOverError(FinecutError):
    """Our life is over, whatever the process still does: begin another; harmless."""


class ConflictError(FinecutError):
    """An object exists under this name with other bytes (media rule 8): refuse, count, alarm."""

    def __init__(self, name: str, *, held: str, offered: str) -> None:
        super().__init__(f"{name} exists with digest {held}, refused other bytes with digest {offered}")
        self.name = name
        self.held = held
        self.offered = offered
