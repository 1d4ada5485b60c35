"""The farm's SQS queues: one FIFO queue of orders, and one of those that nobody will try again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from fearless.builtin.aws import code
from fearless.builtin.farm.message import Order
from fearless.errors import ConfigError, FearlessError

VISIBILITY = 120
"""Seconds for which a message is kept from other workers; renewed by a heartbeat every third."""
RECEIVES = 10
"""So often SQS gives a message before it puts it aside by itself. Workers give up sooner."""
KEPT = 14 * 24 * 3600
"""Seconds that a dead letter is kept: the most that SQS knows."""
PEEK = 20
"""Seconds for which looking at dead letters hides them from others, if it is interrupted."""
MANY = 1000
GONE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
NOT_OURS = frozenset(
    {
        "InvalidParameterValue",
        "MessageNotInflight",
        "AWS.SimpleQueueService.MessageNotInflight",
        "ReceiptHandleIsInvalid",
    }
)
"""What SQS answers about a message that it has given to somebody else since."""


class NotOurs(FearlessError):
    """The message was not renewed in time, and somebody else may have it."""


@dataclass(frozen=True)
class Received:
    """A message in hand. `count` is how often it was given to anybody."""

    id: str
    receipt: str
    body: str
    count: int


@dataclass(frozen=True)
class Dead:
    """A dead letter: why it is one, and since when (Unix time)."""

    id: str
    receipt: str
    body: str
    reason: str
    since: float


@dataclass(frozen=True)
class Depth:
    """How many messages wait, are in hand, and are dead. SQS counts approximately."""

    visible: int
    in_flight: int
    dead: int


class BuildQueue:
    """`<name>.fifo` and `<name>-dead.fifo`."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = f"{name}.fifo"
        self.dead_name = f"{name}-dead.fifo"
        self._urls: dict[str, str] = {}

    def ensure(self) -> None:
        """Make what is missing. Raises ConfigError for a queue that has no dead-letter queue."""
        if self._urls:
            return
        dead = self._find(self.dead_name) or self._create(
            self.dead_name, {"MessageRetentionPeriod": str(KEPT)}
        )
        arn = self._attributes(dead, "QueueArn")["QueueArn"]
        policy = {"deadLetterTargetArn": arn, "maxReceiveCount": str(RECEIVES)}
        url = self._find(self.name) or self._create(
            self.name,
            {"VisibilityTimeout": str(VISIBILITY), "RedrivePolicy": json.dumps(policy)},
        )
        if not self._attributes(url, "RedrivePolicy").get("RedrivePolicy"):
            raise ConfigError(
                f"queue {self.name} has no dead-letter queue, so that a message nobody can act on "
                f"would come back for ever: give it a RedrivePolicy with {arn}, or delete it and "
                "Fearless makes it anew"
            )
        self._urls = {self.name: url, self.dead_name: dead}

    def send(self, order: Order) -> None:
        """Put an order into the queue; within five minutes, sending it again changes nothing."""
        self._client.send_message(
            QueueUrl=self._url(),
            MessageBody=order.body(),
            MessageGroupId=order.repository,
            MessageDeduplicationId=order.id,
        )

    def receive(self, wait: int, visibility: int) -> Received | None:
        """The next message, after `wait` seconds at most."""
        answer = self._client.receive_message(
            QueueUrl=self._url(),
            MaxNumberOfMessages=1,
            WaitTimeSeconds=wait,
            VisibilityTimeout=visibility,
            AttributeNames=["ApproximateReceiveCount"],
        )
        for found in answer.get("Messages", ()):
            return Received(
                found["MessageId"],
                found["ReceiptHandle"],
                found["Body"],
                int(found["Attributes"]["ApproximateReceiveCount"]),
            )
        return None

    def keep(self, message: Received, seconds: int) -> None:
        """Hide it from others for so long from now, or give it back (0). Raises NotOurs."""
        self._ours(
            self._client.change_message_visibility,
            QueueUrl=self._url(),
            ReceiptHandle=message.receipt,
            VisibilityTimeout=seconds,
        )

    def done(self, message: Received) -> None:
        """Remove it. Raises NotOurs."""
        self._ours(self._client.delete_message, QueueUrl=self._url(), ReceiptHandle=message.receipt)

    def bury(self, message: Received, reason: str) -> None:
        """Make it a dead letter that says why."""
        self.ensure()
        self._client.send_message(
            QueueUrl=self._urls[self.dead_name],
            MessageBody=message.body,
            MessageGroupId=message.id,
            MessageDeduplicationId=message.id,
            MessageAttributes={
                "reason": {"DataType": "String", "StringValue": _attribute(reason)},
                "sender": {"DataType": "String", "StringValue": "fearless"},
            },
        )
        self.done(message)

    def depth(self) -> Depth:
        """How full the queues are."""
        self.ensure()
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        waiting = self._attributes(self._urls[self.name], *names)
        dead = self._attributes(self._urls[self.dead_name], *names)
        return Depth(
            int(waiting[names[0]]), int(waiting[names[1]]), sum(int(dead[name]) for name in names)
        )

    # ------------------------------------------------------------------ dead letters

    def dead(self) -> list[Dead]:
        """The dead letters nobody else looks at now, oldest first; they stay where they are."""
        found = self.take_all()
        for letter in found:
            self.put_back(letter)
        return sorted(found, key=lambda letter: letter.since)

    def take(self, id: str) -> Dead:
        """A dead letter, hidden from others for a moment, to be forgotten. Raises FearlessError."""
        taken = None
        for letter in self.take_all():
            if id in (letter.id, letter.id[:8]):
                taken = letter
            else:
                self.put_back(letter)
        if taken is None:
            raise FearlessError(
                f"{self.dead_name} has no message {id!r} that is free: `fearless build dlq list`"
            )
        return taken

    def forget(self, letter: Dead) -> None:
        """Remove a dead letter."""
        self._client.delete_message(
            QueueUrl=self._urls[self.dead_name], ReceiptHandle=letter.receipt
        )

    def take_all(self) -> list[Dead]:
        """All dead letters, hidden from others for a moment."""
        self.ensure()
        found: dict[str, Dead] = {}
        while len(found) < MANY:
            answer = self._client.receive_message(
                QueueUrl=self._urls[self.dead_name],
                MaxNumberOfMessages=10,
                VisibilityTimeout=PEEK,
                AttributeNames=["SentTimestamp"],
                MessageAttributeNames=["reason"],
            )
            messages = answer.get("Messages", ())
            if not messages:
                break
            for message in messages:
                found[message["MessageId"]] = _dead(message)
        return list(found.values())

    def put_back(self, letter: Dead) -> None:
        """Let others see a dead letter again."""
        self._client.change_message_visibility(
            QueueUrl=self._urls[self.dead_name],
            ReceiptHandle=letter.receipt,
            VisibilityTimeout=0,
        )

    # ------------------------------------------------------------------ SQS

    def _url(self) -> str:
        self.ensure()
        return self._urls[self.name]

    def _find(self, name: str) -> str | None:
        try:
            return str(self._client.get_queue_url(QueueName=name)["QueueUrl"])
        except ClientError as error:
            if code(error) not in GONE:
                raise
            return None

    def _create(self, name: str, attributes: Mapping[str, str]) -> str:
        fixed = {"FifoQueue": "true", "SqsManagedSseEnabled": "true"}
        made = self._client.create_queue(QueueName=name, Attributes={**fixed, **attributes})
        return str(made["QueueUrl"])

    def _attributes(self, url: str, *names: str) -> dict[str, str]:
        answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        return dict(answer.get("Attributes", {}))

    def _ours(self, call: Any, **arguments: Any) -> None:
        try:
            call(**arguments)
        except ClientError as error:
            if code(error) not in NOT_OURS:
                raise
            raise NotOurs(
                f"queue {self.name} has given the message to somebody else since"
            ) from error


def _dead(message: Mapping[str, Any]) -> Dead:
    reason = message.get("MessageAttributes", {}).get("reason", {}).get("StringValue")
    sent = message.get("Attributes", {}).get("SentTimestamp")
    return Dead(
        message["MessageId"],
        message["ReceiptHandle"],
        message["Body"],
        reason or f"SQS gave it {RECEIVES} times, and no worker finished it",
        int(sent) / 1000 if sent else time.time(),
    )


def _attribute(text: str) -> str:
    """Text that SQS takes as an attribute: not empty, without control characters."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean[:1000] or "no reason given"
