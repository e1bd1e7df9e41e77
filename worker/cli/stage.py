"""The demo's own worker: everything in one process on the embedded default, plus two hands on its broker.

The in-process broker has no door to other processes. So commands come in by standard input and are published to `approvals.commands` here,
and a queue bound to `approvals.events` is written to standard output, one event a line. Both go through the broker, as they would from
elsewhere.
"""

import json
import sys
import threading
from pathlib import Path

from worker.broker import Incoming, Names, Outgoing, Publisher, connect
from worker.settings import load
from worker.up import up

LISTENER = "demo.listener"


def main(config: str) -> int:
    """Run until a signal."""
    settings = load(Path(config), {})
    names = Names(settings.namespace)
    threading.Thread(target=_listen, args=(settings.broker.url, names), daemon=True).start()
    threading.Thread(target=_publish, args=(settings.broker.url, names), daemon=True).start()
    return up(settings)


def _listen(url: str, names: Names) -> None:
    link = connect(url)
    queue = names.listener(LISTENER)
    link.declare(names.events_exchange(), queue)
    link.consume(queue.name, 100, _show)
    _say({"ready": True})
    while True:
        link.drain(1.0)


def _show(message: Incoming) -> None:
    _say(json.loads(message.body))


def _publish(url: str, names: Names) -> None:
    publisher = Publisher(url, declares=[names.commands_queue()])
    for line in sys.stdin:
        publisher.publish([Outgoing(names.commands, line.strip().encode(), properties={"content_type": "application/json"})])


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
