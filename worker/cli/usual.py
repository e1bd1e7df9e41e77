"""The demo's counter-example: the Celery task that every team writes first. It is here to be watched, not to be used.

`autoretry_for` sends the same POST again after a lost answer. The first one had taken effect, so the second one approves the next step.
"""

import json
import os
import sys
from typing import Any

import httpx
from celery import Celery, signals


def main(base_url: str, task: str, comment: str) -> None:
    """Approve *task* the usual way, in a real Celery worker on the in-process broker; ends by itself and prints what it believes."""
    app = Celery("usual", broker="memory://", set_as_current=False)
    app.conf.update(
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_default_queue="usual",
        broker_transport_options={"polling_interval": 0.05},
    )
    tries: list[str] = []

    @app.task(name="approve", bind=True, autoretry_for=(httpx.TransportError,), retry_backoff=1, retry_jitter=False, max_retries=3)  # type: ignore[untyped-decorator]
    def approve(self: Any) -> None:  # noqa: ARG001  bound, as autoretry_for wants it
        with httpx.Client(base_url=base_url, headers={"X-Version": "2026-01-01"}, timeout=5) as client:
            form = {"client_id": "sandbox", "client_secret": "sandbox", "grant_type": "client_credentials"}
            token = client.post("/oauth2/token", data=form).json()["access_token"]
            try:
                answer = client.post(
                    f"/tasks/{task}/actionSubmission",
                    json={"action": "APPROVE", "comment": comment},
                    headers={"Authorization": f"Bearer {token}"},
                )
            except httpx.TransportError as exc:
                tries.append(type(exc).__name__)
                raise
            answer.raise_for_status()
            tries.append(str(answer.status_code))

    def over(**_: Any) -> None:
        sys.stdout.write(json.dumps(tries) + "\n")
        sys.stdout.flush()
        os._exit(0)

    signals.task_success.connect(over, weak=False)
    signals.task_failure.connect(over, weak=False)
    approve.delay()
    app.Worker(pool="solo", loglevel="CRITICAL", without_mingle=True, without_gossip=True, without_heartbeat=True, quiet=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
