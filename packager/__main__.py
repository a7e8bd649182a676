"""Runs one packager until it is told to leave."""

import signal
import threading

import structlog
from prometheus_client import start_http_server

from packager import metrics
from packager.client import Client
from packager.store import DirectoryStore, Store
from packager.worker import Worker
from schemas.errors import UserError
from schemas.settings import Settings

log = structlog.get_logger()


def run(settings: Settings, *, pool: int, packager_id: str, store: Store | None = None) -> int:
    """
    The exit status of a packager that worked until SIGTERM or SIGINT and drained; the second signal ends it without.

    Args:
        settings: All settings.
        pool: Pool to join.
        packager_id: Name, used by nobody else in the pool.
        store: Where objects go; absent: the directory of the settings.

    Raises:
        UserError: The pool does not exist, the name is used twice, or the store cannot be written.
    """
    if pool not in range(settings.kafka.pool_count):
        raise UserError(f"there is no pool {pool}: pools are 0 to {settings.kafka.pool_count - 1}", do="choose one of them")
    told, hurried = threading.Event(), threading.Event()

    def hear(*_: object) -> None:
        (hurried if told.is_set() else told).set()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, hear)
    objects = store or DirectoryStore(settings.store)
    server, thread = start_http_server(settings.packager.metrics_port, settings.packager.metrics_host)
    try:
        with Client(settings, pool=pool, packager_id=packager_id) as client:
            log.info("packager_started", packager=packager_id, life=client.life, pool=pool, metrics_port=server.server_port)
            Worker(settings, client, objects).run(must_drain=told.is_set, must_leave=hurried.is_set)
    finally:
        metrics.PACKAGER_READY.set(0)
        server.shutdown()
        server.server_close()
        thread.join()
    log.info("packager_left", packager=packager_id)
    return 0
