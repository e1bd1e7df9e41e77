"""What lies on the broker under our namespace, and the two ways to use it: a `Link` to take messages, a `Publisher` to give them.

The failures. A publish without a confirm is a hope: the broker may be frozen, full, or gone, and the client says "sent". A confirm awaited
message by message costs a round trip each. And a client that waits without an end hangs with the broker. So a `Publisher` sends a whole
batch, collects the confirms as they come, and has one deadline for all of it; what was not confirmed by then has *failed*, which means that
nobody knows.

    names       what lies there
    message     a message in, a message out, its fate
    address     where, of which kind, how patient
    link        one connection, whatever the broker: what each kind can do
    amqp        RabbitMQ, and kombu's broker in memory
    redis       Redis, in kombu's layout
    publisher   batches out

The limits: the deadline is kept by time-outs on each wait, so a broker that answers every step of the handshake slowly can stretch it; a
name that no resolver answers for is the resolver's to time out; on `memory://` messages live and die with the process; on Redis they live
in its memory.
"""

from worker.broker.address import VISIBILITY, address, transport_options
from worker.broker.link import BrokerLost, Link, connect
from worker.broker.message import Fate, Incoming, Outgoing
from worker.broker.names import RINGS_KEPT, Names
from worker.broker.publisher import Publisher

__all__ = [
    "HEARTBEAT",
    "RINGS_KEPT",
    "VISIBILITY",
    "BrokerLost",
    "Fate",
    "Incoming",
    "Link",
    "Names",
    "Outgoing",
    "Publisher",
    "address",
    "connect",
    "transport_options",
]

HEARTBEAT = 30
"""Seconds. A connection that a firewall dropped without a word is found after two of them."""
