"""Runs the control plane until it is told to end."""

import asyncio
import signal
from collections.abc import Callable

import structlog
import uvloop
from aiokafka.errors import KafkaError
from prometheus_client import start_http_server

from schemas.errors import Exit, UserError
from schemas.settings import KafkaSettings, Settings, load
from streams.app import build
from streams.log import KafkaLog
from streams.metrics import Metrics
from streams.watchdog import LoopGuard, StuckError, beat, watch, watch_reading

log = structlog.get_logger()

STOP_TIMEOUT_S = 10.0


def run(settings: Settings, *, open_log: Callable[[KafkaSettings], KafkaLog] = KafkaLog) -> int:
    """
    Decide for the pools that Kafka assigns to this process until SIGTERM or SIGINT.

    Args:
        settings: Settings.
        open_log: Makes the log that decisions are written to.

    Returns:
        Exit status: 0 after a signal, 1 after a failure, 4 if the watchdog found it stuck; whoever supervises it starts it again.

    Raises:
        UserError: No cluster is named, or the port of the metrics is taken.
    """
    if not settings.kafka.bootstrap_servers:
        raise UserError("no Kafka cluster is named", do="set FINECUT_KAFKA__BOOTSTRAP_SERVERS, or use `finecut up`")
    metrics, control = Metrics(), settings.control
    try:
        server, thread = start_http_server(control.port, control.host, registry=metrics.registry)
    except OSError as error:
        raise UserError(
            f"port {control.port} of {control.host} is taken ({error.strerror})", do="set FINECUT_CONTROL__PORT, or end the other process"
        ) from error
    log.info("metrics_served", host=control.host, port=server.server_port)
    try:
        with LoopGuard(control.stuck_after_ms) as guard, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings, metrics, guard, open_log(settings.kafka)))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _serve(settings: Settings, metrics: Metrics, guard: LoopGuard, journal_log: KafkaLog) -> int:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    # From the start on: to open the log takes long while brokers are away.
    beating = asyncio.create_task(beat(guard, metrics))
    try:
        async with journal_log:
            return await _decide(settings, metrics, journal_log, told)
    except KafkaError as error:
        # Its own kind says why, and whoever supervises us starts us again: a traceback through three libraries adds nothing.
        log.error("kafka_unreachable", bootstrap_servers=settings.kafka.bootstrap_servers, error=repr(error), status=int(Exit.FAILED))
        return Exit.FAILED
    finally:
        beating.cancel()


async def _decide(settings: Settings, metrics: Metrics, journal_log: KafkaLog, told: asyncio.Event) -> int:
    control = build(settings, journal_log=journal_log, metrics=metrics)
    watching = asyncio.create_task(
        watch(
            metrics=metrics,
            handled=control.shell.handled,
            committed=lambda: control.consumer.committed_offsets if control.app.started else {},
            busy_recovering=control.recovery_left,
            stuck_after_ms=settings.control.stuck_after_ms,
        )
    )
    reading = asyncio.create_task(
        watch_reading(
            positions=control.positions,
            ends=control.ends,
            go_back=control.go_back,
            metrics=metrics,
            stuck_after_ms=settings.control.stuck_after_ms,
        )
    )
    ends = [asyncio.create_task(told.wait()), asyncio.create_task(control.shell.failed.wait()), watching, reading]
    try:
        await control.app.start()
        ends.append(asyncio.create_task(control.app.wait_until_stopped()))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    except KafkaError as error:
        control.shell.fail(error)
    stuck = [task.exception() for task in (watching, reading) if task.done()]
    failure = control.shell.failure or next((error for error in stuck if error), None) or control.app.crash_reason
    if isinstance(failure, StuckError):
        log.error("worker_stuck", error=str(failure))
    elif failure is not None:
        log.error("control_failed", error=repr(failure), exc_info=failure)
    if failure is not None:
        control.shell.fail(failure)
    for task in ends:
        task.cancel()
    try:
        await asyncio.wait_for(control.stop(), STOP_TIMEOUT_S)
    except TimeoutError:
        # In a rebalance the group answers when it has heard everybody. What was decided is durable; what was folded is read again.
        log.warning("stop_timed_out", after_s=STOP_TIMEOUT_S)
    status = Exit.DONE if failure is None else Exit.STUCK if isinstance(failure, StuckError) else Exit.FAILED
    log.info("control_ended", status=int(status))
    return status


if __name__ == "__main__":
    raise SystemExit(run(load()))
