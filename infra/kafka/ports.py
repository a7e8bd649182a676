"""Ports for a broker that comes back on the same ones."""

import errno
import random
import socket
from collections.abc import Iterator

# Below the range from which Linux takes ports of outgoing connections (32768 and up): while a broker is down, a client's own
# retries to connect could otherwise be given the broker's port, and the broker not come back.
FREE_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Nobody listens on this port of the loopback."""
    with socket.socket() as probe:
        # As the broker does: connections of an earlier run that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def free_ports(seed: int | None = None) -> Iterator[int]:
    """Free ports in random order, none twice, so that two brokers starting at once hardly ever pick the same."""
    shuffled = random.Random(seed).sample(FREE_RANGE, len(FREE_RANGE))  # noqa: S311 - nothing secret about a port
    return filter(is_free, shuffled)
