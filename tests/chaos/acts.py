"""
Each kind of fault as an act: a generator that does harm, yields what to wait for, and makes it good.

Whoever plays it takes it on when the condition holds or its time is over, and closes it in any case: what was stopped goes on then.
"""

import resource
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass

import psutil
from confluent_kafka import KafkaException

from infra.kafka import LocalBroker, LocalKafkaError
from tests.chaos.cast import Cast, Slower, names_of
from tests.chaos.plan import Fault

# How long a process may take to end, a broker to come back and into sync.
ENDS_S, RETURNS_S = 25.0, 60.0
LISTENS_S = 0.2
SLOW_STORE_S = 0.4


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """What an act waits for, and for how long at most; whether it is the return of what was started again."""

    until: Callable[[], bool]
    most_s: float
    is_return: bool = False


Act = Generator[Wait, None, None]
OF_ALL = frozenset({"control-away", "store-readonly", "origins-restart", "broker-rolling", "brokers-away"})


def begin(cast: Cast, fault: Fault) -> tuple[str, Act] | None:
    """Whom a fault happens to, and the act; None if there is nobody left to harm."""
    if fault.kind in OF_ALL:
        if any(what.startswith(f"{fault.role} ") for what in cast.harmed):
            return None
        target = "all"
    else:
        # Of brokers one at a time: with two away there is no majority, and nothing to be seen but that.
        all_names = names_of(cast, fault.role)
        free = [name for name in all_names if f"{fault.role} {name}" not in cast.harmed and _runs(cast, fault.role, name)]
        busy = [name for name in free if name in cast.holders()]
        chosen = busy or free
        if not chosen or (fault.role == "broker" and len(free) < len(all_names)):
            return None
        target = chosen[fault.pick % len(chosen)]
    return target, _marked(cast, f"{fault.role} {target}", ACTS[fault.kind](cast, target, fault.lasts_s))


def _marked(cast: Cast, what: str, act: Act) -> Act:
    cast.harmed.add(what)
    try:
        yield from act
    finally:
        cast.harmed.discard(what)


def _runs(cast: Cast, role: str, name: str) -> bool:
    return cast.cluster.is_alive(int(name)) if role == "broker" else cast.child(name).is_alive


def _for(seconds: float) -> Wait:
    over_s = time.monotonic() + seconds
    return Wait(until=lambda: time.monotonic() >= over_s, most_s=seconds + 1)


def _return(until: Callable[[], bool]) -> Wait:
    return Wait(until=until, most_s=RETURNS_S, is_return=True)


def _ready(cast: Cast, *names: str) -> Wait:
    """Until all of those started again do their work, as far as they tell."""
    return _return(lambda: all(r.holds() for name in names if (r := cast.child(name).readiness)))


def _kill(cast: Cast, name: str, seconds: float) -> Act:
    cast.kill(name)
    try:
        yield _for(seconds)
    finally:
        cast.revive(name)
    yield _ready(cast, name)


def _pause(cast: Cast, name: str, seconds: float) -> Act:
    pid = cast.child(name).popen.pid
    cast.pause(pid)
    try:
        yield _for(seconds)
    finally:
        cast.resume(pid)


def _slow(cast: Cast, name: str, seconds: float) -> Act:
    slower = Slower(cast, cast.child(name).popen.pid)
    try:
        yield _for(seconds)
    finally:
        slower.end()


def _drain(cast: Cast, name: str, seconds: float) -> Act:
    cast.line.run.drain_packager(name)
    child = cast.child(name)
    try:
        yield Wait(until=lambda: not child.is_alive, most_s=ENDS_S)
        yield _for(seconds)
    finally:
        if child.is_alive:
            cast.kill(name)
        cast.revive(name)


def _twin(cast: Cast, name: str, seconds: float) -> Act:
    first, twin = cast.child(name), cast.start_packager(name, process=f"{name}-twin")
    first.is_wanted = twin.is_wanted = False
    try:
        yield _for(seconds)
    finally:
        cast.kill(twin.name)
        if first.is_alive:
            first.is_wanted = True
        else:
            cast.revive(name)


def _starve(cast: Cast, name: str, seconds: float) -> Act:
    """What it does about it is its own matter; whoever supervises it starts it again, with all the memory there is."""
    popen = cast.child(name).popen
    _, hard = resource.prlimit(popen.pid, resource.RLIMIT_AS)
    resource.prlimit(popen.pid, resource.RLIMIT_AS, (psutil.Process(popen.pid).memory_info().vms, hard))
    try:
        yield _for(seconds)
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(popen.pid, resource.RLIMIT_AS, (hard, hard))
    yield _ready(cast, name)


def _store(word: str, *, of_all: bool = False) -> Callable[[Cast, str, float], Act]:
    def act(cast: Cast, name: str, seconds: float) -> Act:
        files = [cast.words(one) for one in (cast.packagers if of_all else (name,))]
        for file in files:
            file.write_text(word)
        try:
            yield _for(seconds)
        finally:
            for file in files:
                file.unlink()

    return act


def _all_of(role: str) -> Callable[[Cast, str, float], Act]:
    def act(cast: Cast, _: str, seconds: float) -> Act:
        gone = [name for name in names_of(cast, role) if cast.child(name).is_alive]
        for name in gone:
            cast.kill(name)
        try:
            yield _for(seconds)
        finally:
            for name in gone:
                cast.revive(name)
        yield _ready(cast, *gone)

    return act


def _kill_broker(cast: Cast, name: str, seconds: float) -> Act:
    cast.cluster.kill(int(name))
    try:
        yield _for(seconds)
    finally:
        cast.cluster.brokers[int(name)].launch()
    yield _return(lambda: in_sync(cast))


def _brokers_away(cast: Cast, _: str, seconds: float) -> Act:
    """No quorum, and one copy where two must be written: nothing is acknowledged meanwhile."""
    gone = list(cast.cluster.brokers)[1:]
    for number in gone:
        cast.cluster.kill(number)
    try:
        yield _for(seconds)
    finally:
        for number in gone:
            cast.cluster.brokers[number].launch()
    yield _return(lambda: in_sync(cast))


def _pause_broker(cast: Cast, name: str, seconds: float) -> Act:
    cast.cluster.pause(int(name))
    try:
        yield _for(seconds)
    finally:
        cast.cluster.resume(int(name))
    yield _return(lambda: in_sync(cast))


def _roll_brokers(cast: Cast, _: str, __: float) -> Act:
    for number, broker in cast.cluster.brokers.items():
        broker.send_signal(signal.SIGTERM)
        try:
            yield Wait(until=lambda number=number: not cast.cluster.is_alive(number), most_s=ENDS_S)  # type: ignore[misc]
        finally:
            broker.kill()
            broker.launch()
        yield Wait(until=lambda: in_sync(cast), most_s=RETURNS_S)


def in_sync(cast: Cast) -> bool:
    """Whether every broker listens, and every replica of every partition is in sync: one that is left alone says what it knew last."""
    with suppress(KafkaException, LocalKafkaError):
        return all(_listens(broker) for broker in cast.cluster.brokers.values()) and not cast.cluster.out_of_sync()
    return False


def _listens(broker: LocalBroker) -> bool:
    host, _, port = broker.bootstrap.rpartition(":")
    try:
        socket.create_connection((host, int(port)), LISTENS_S).close()
    except OSError:
        return False
    return True


ACTS: dict[str, Callable[[Cast, str, float], Act]] = {
    "packager-kill": _kill,
    "packager-pause": _pause,
    "packager-slow": _slow,
    "packager-drain": _drain,
    "packager-twin": _twin,
    "packager-memory": _starve,
    "store-full": _store("full"),
    "store-readonly": _store("readonly", of_all=True),
    "store-slow": _store(f"slow {SLOW_STORE_S}"),
    "control-kill": _kill,
    "control-pause": _pause,
    "control-away": _all_of("control"),
    "origin-kill": _kill,
    "origin-pause": _pause,
    "origin-behind": _pause,
    "origins-restart": _all_of("origin"),
    "encoder-kill": _kill,
    "encoder-pause": _pause,
    "broker-kill": _kill_broker,
    "broker-pause": _pause_broker,
    "broker-rolling": _roll_brokers,
    "brokers-away": _brokers_away,
}
