"""Celery over one SQS queue: JSON only, acknowledged late, nothing created, no results kept.

Imported by who uses it only: it needs `fearless[celery]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from celery import Celery
from celery.exceptions import Reject
from celery.signals import worker_shutting_down
from kombu.transport import SQS

from fearless.errors import ConfigError

TASK = "fearless.unit"
WAIT = 5
"""Seconds that a request for messages waits for one."""
GONE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
Perform = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Queue:
    """A queue there is. `visibility` is after how many seconds it gives a message again."""

    name: str
    url: str
    visibility: float

    @classmethod
    def find(cls, client: Any, queue: str) -> Queue:
        """The queue of that name or URL. Raises ConfigError when there is none."""
        try:
            url = queue if "://" in queue else client.get_queue_url(QueueName=queue)["QueueUrl"]
            answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
        except ClientError as error:
            if error.response["Error"]["Code"] not in GONE:
                raise
            raise ConfigError(
                f"there is no SQS queue {queue!r} at {client.meta.endpoint_url} "
                f"({client.meta.region_name}): create it, or name another"
            ) from error
        if url.endswith(".fifo"):
            raise ConfigError(
                f"queue {queue} is a FIFO queue, which gives one message at a time: take a "
                "standard one"
            )
        return cls(url.rpartition("/")[2], url, float(answer["Attributes"]["VisibilityTimeout"]))


def application(client: Any, queue: Queue) -> Celery:
    """The Celery application that sends to and receives from that queue with that SQS client."""

    class Channel(SQS.Channel):
        def new_sqs_client(self, *_: Any, **__: Any) -> Any:
            return client

    class Transport(SQS.Transport):
        pass

    Transport.Channel = Channel
    app = Celery("fearless", broker="sqs://", set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_transport=Transport,
        broker_transport_options={
            "predefined_queues": {queue.name: {"url": queue.url}},
            "polling_interval": 0.5,
            "wait_time_seconds": WAIT,
        },
        task_acks_late=True,
        task_default_queue=queue.name,
        task_ignore_result=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
    )
    return app


def sender(app: Celery) -> Callable[[Mapping[str, Any]], None]:
    """A function that sends one order."""

    def send(order: Mapping[str, Any]) -> None:
        app.send_task(TASK, args=[order], argsrepr="", kwargsrepr="")

    return send


def work(app: Celery, name: str, threads: int, perform: Perform, stop: Callable[[], None]) -> int:
    """Perform orders until SIGTERM; `stop` is called upon it. The exit code.

    An order that comes when `perform` raises Closing goes back into the queue.
    """

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def unit(order: Mapping[str, Any]) -> None:
        try:
            perform(order)
        except Closing as closing:
            raise Reject(str(closing), requeue=True) from closing

    def stopping(**_: Any) -> None:
        stop()

    worker_shutting_down.connect(stopping, weak=False)
    try:
        worker = app.Worker(
            pool="threads",
            concurrency=threads,
            hostname=name,
            loglevel="WARNING",
            quiet=True,
            without_gossip=True,
            without_heartbeat=True,
            without_mingle=True,
        )
        worker.start()
        return int(worker.exitcode or 0)
    finally:
        worker_shutting_down.disconnect(stopping)


class Closing(Exception):
    """This worker is about to end, and begins nothing any more."""
