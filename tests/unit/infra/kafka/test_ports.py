"""Ports a broker can come back to."""

import socket
from itertools import islice

from infra.kafka.ports import free_ports, is_free


def test_a_port_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not is_free(listener.getsockname()[1])


def test_free_ports_lie_outside_the_range_of_outgoing_connections() -> None:
    ports = list(islice(free_ports(seed=1), 5))
    assert len(set(ports)) == 5
    assert max(ports) < 32_768
