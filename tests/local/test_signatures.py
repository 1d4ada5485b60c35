"""A request that comes too long after it was signed is refused, whoever signed it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fearless.data.calls import classify
from fearless.errors import ConfigError
from fearless.local.emulation import signatures
from fearless.testing.emulator import Emulator, running

NOW = datetime(2013, 6, 5, 13, 31, 58, tzinfo=UTC)
SECONDS = 3.0
WRITER = """
import sys
from fearless.testing.emulator import Emulator

def pause():
    print("signed", flush=True)
    sys.stdin.readline()

wire = Emulator(sys.argv[1]).wire(guard=pause)
try:
    wire.put_item(TableName="late", Item={"pk": {"S": "late"}})
    print("written")
except Exception as error:
    print(error)
"""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator that takes no request signed more than `SECONDS` ago."""
    with running(tmp_path_factory.mktemp("strict"), signature_seconds=SECONDS) as emulator:
        emulator.wire().create_table(
            TableName="late",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield emulator


def test_it_says_what_aws_says() -> None:
    said = signatures.expired("20130605T132157Z", 300, NOW)
    assert said == (
        "Signature expired: 20130605T132157Z is now earlier than 20130605T132658Z "
        "(20130605T133158Z - 5 min.)"
    )
    assert signatures.expired("20130605T132658Z", 300, NOW) is None
    assert signatures.expired("yesterday", 300, NOW) is None


def test_other_services_and_the_end_of_a_connection_pass_through() -> None:
    served: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append([await receive(), await receive()])

    async def ask(service: bytes) -> None:
        messages = iter([{"body": b"a", "more_body": True}, {"body": b"b"}, {"type": "gone"}])

        async def receive() -> Any:
            return next(messages)

        headers = [
            (b"authorization", b"Credential=A/20130605/r/" + service + b"/aws4_request, x"),
            (b"x-amz-date", b"20130605T132157Z"),
        ]
        await signatures.middleware(app, 1e10)({"headers": headers}, receive, receive)

    for service in (b"s3", b"dynamodb"):
        asyncio.run(ask(service))
    assert served[0] == served[1] == [{"body": b"a", "more_body": True}, {"body": b"b"}]


def test_a_wrong_number_is_named() -> None:
    with pytest.raises(ConfigError, match=r"FEARLESS_SIGNATURE_SECONDS.*'soon'"):
        signatures.install({signatures.VARIABLE: "soon"})


@pytest.mark.slow
def test_an_old_request_is_refused_and_may_be_signed_again(strict: Emulator) -> None:
    strict.wire().put_item(TableName="late", Item={"pk": {"S": "fresh"}})
    with pytest.raises(ClientError) as caught:
        strict.wire(wall=lambda: time.time() - SECONDS - 2).put_item(
            TableName="late", Item={"pk": {"S": "old"}}
        )
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "Signature expired" in str(caught.value)
    assert classify(caught.value) == "throttled"
    assert "Item" not in strict.wire().get_item(TableName="late", Key={"pk": {"S": "old"}})


@pytest.mark.slow
def test_boto3_hears_the_same(strict: Emulator) -> None:
    client = strict.client("dynamodb")

    def age(request: Any, **_: Any) -> None:
        request.headers["X-Amz-Date"] = "20130605T132157Z"

    client.meta.events.register("before-send", age)
    with pytest.raises(ClientError, match="Signature expired"):
        client.scan(TableName="late")


@pytest.mark.slow
def test_a_writer_that_was_stopped_comes_too_late(strict: Emulator) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, strict.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as writer:
        assert writer.stdin and writer.stdout
        assert writer.stdout.readline() == "signed\n"
        os.kill(writer.pid, signal.SIGSTOP)
        writer.stdin.write("go\n")
        writer.stdin.flush()
        time.sleep(SECONDS + 1.2)
        os.kill(writer.pid, signal.SIGCONT)
        assert "Signature expired" in writer.stdout.read()
        writer.wait(10)
    assert "Item" not in strict.wire().get_item(TableName="late", Key={"pk": {"S": "late"}})
