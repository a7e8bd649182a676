"""How clients of aiokafka wait: for a broker that stands still as long as ours of librdkafka, for one that has just started at all."""

from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest

# They are answered once every member of the group was heard.
JOINS = (JoinGroupRequest, SyncGroupRequest)


def limit(client: AIOKafkaClient, *, request_timeout_ms: int) -> None:
    """
    A request that is not answered in time is given up, and its connection closed, so that another broker is asked.

    aiokafka has one time for this and for how long a record may wait for a leader: with a short one, records are lost while leaders
    are elected; with a long one, a broker that stands still with its connections open holds up everything that it led. Here the time
    that the client was made with goes on to hold for records and joins.
    """
    answer_s = request_timeout_ms / 1_000
    join_s = max(answer_s, client._request_timeout_ms / 1_000)  # noqa: SLF001 - see above
    client._request_timeout_ms = request_timeout_ms  # noqa: SLF001
    send, connections = client.send, client._conns  # noqa: SLF001

    async def send_in_time(node_id: Any, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Any:
        if await client.ready(node_id, group=group):
            # Read by the connection as the request leaves, which is before anything else can run.
            connections[node_id, group]._request_timeout = join_s if isinstance(request, JOINS) else answer_s  # noqa: SLF001
        return await send(node_id, request, group=group)

    client.send = send_in_time
    look_up = client.coordinator_lookup

    async def look_up_once_known(coordinator_type: Any, coordinator_key: str) -> Any:
        if not client.cluster.brokers():
            # A broker that has just started names none, not even itself. aiokafka asserts that it does; this error it retries.
            raise NodeNotReadyError("the cluster names no broker yet")
        return await look_up(coordinator_type, coordinator_key)

    client.coordinator_lookup = look_up_once_known
