"""Runs one packager until it is told to leave."""

import signal
import threading
from itertools import count
from threading import Event

import structlog
from prometheus_client import start_http_server

from packager import memory, metrics
from packager.client import Client
from packager.store import DirectoryStore, Store
from packager.worker import Worker
from schemas.errors import Exit, LifeOverError, UnreachableError, UserError
from schemas.settings import Settings

log = structlog.get_logger()


def run(settings: Settings, *, pool: int, packager_id: str, store: Store | None = None) -> int:
    """
    The exit status of a packager that worked until SIGTERM or SIGINT and drained; the second signal ends it without.

    Declared dead while it was paused or cut off, it goes on as another life: a dead one gets no work; if Kafka is still away then, it waits
    for it. Without the memory that it needs it gives back what it holds and ends: what the log has is made by the next one.

    Args:
        settings: All settings.
        pool: Pool to join.
        packager_id: Name, used by nobody else in the pool.
        store: Where objects go; absent: the directory of the settings.

    Raises:
        UnreachableError: No Kafka answers at the start.
        UserError: The pool does not exist, the name is used twice, the store cannot be written, or the memory holds no GOP.
    """
    if pool not in range(settings.kafka.pool_count):
        raise UserError(f"there is no pool {pool}: pools are 0 to {settings.kafka.pool_count - 1}", do="choose one of them")
    told, hurried = Event(), Event()

    def hear(*_: object) -> None:
        (hurried if told.is_set() else told).set()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, hear)
    memory.keep_large_apart()
    objects = store or DirectoryStore(settings.store)
    settings = _bounded(settings)
    server, thread = start_http_server(settings.packager.metrics_port, settings.packager.metrics_host)
    try:
        lives = count()
        while not _live(settings, pool, packager_id, objects, server.server_port, told, hurried, is_first=next(lives) == 0):
            metrics.PACKAGER_READY.set(0)
    except MemoryError:
        log.error("out_of_memory", packager=packager_id, used_bytes=memory.used_bytes(), limit_bytes=memory.limit_bytes())
        return Exit.MEMORY
    finally:
        metrics.PACKAGER_READY.set(0)
        server.shutdown()
        server.server_close()
        thread.join()
    log.info("packager_left", packager=packager_id)
    return 0


def _bounded(settings: Settings) -> Settings:
    """The settings with as much memory for chunks as there is."""
    packager = settings.packager
    room = memory.room_bytes(memory.limit_bytes(), memory.used_bytes(), packager.fetch_bytes_max)
    tail = memory.tail_bytes(packager.tail_bytes_max, room, settings.kafka.message_bytes_max)
    if tail < packager.tail_bytes_max:
        log.info("tail_bounded", tail_bytes=tail, wanted_bytes=packager.tail_bytes_max, room_bytes=room)
    return settings.model_copy(update={"packager": packager.model_copy(update={"tail_bytes_max": tail})})


def _live(settings: Settings, pool: int, packager_id: str, store: Store, port: int, told: Event, hurried: Event, *, is_first: bool) -> bool:
    """Whether it left as it was told to; else that life is over, and the next begins."""
    try:
        with Client(settings, pool=pool, packager_id=packager_id) as client:
            log.info("packager_started", packager=packager_id, life=client.life, pool=pool, metrics_port=port)
            Worker(settings, client, store).run(must_drain=told.is_set, must_leave=hurried.is_set)
    except LifeOverError as over:
        log.warning("life_over", packager=packager_id, why=str(over))
        metrics.PACKAGER_LIVES_LOST.inc()
        return told.is_set()
    except UnreachableError as error:
        if is_first:
            raise
        log.warning("kafka_away", packager=packager_id, why=error.problem)
        return told.is_set()
    return True
