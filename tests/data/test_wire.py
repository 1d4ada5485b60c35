"""The client of the data plane: what goes wrong on a wire, and what each failure means."""

from __future__ import annotations

import copy
import datetime as dt
import socket
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from fearless.data import connections
from fearless.data.calls import classify
from fearless.data.connection import Garbled
from fearless.data.server_time import ServerTime
from fearless.data.signature import Signer
from fearless.data.wire import OPERATIONS, Wire
from fearless.errors import ConfigError, FearlessError
from fearless.testing.emulator import free_port
from tests.data.stub_server import Request, Stub, answer, checked, serving
from tests.data.tls import Authority, authority

__all__ = ["authority"]

SECRET, TOKEN = "s3cr3t-key-of-nobody", "t0ken-of-nobody"
ANSWERED = checked(b'{"Count":1}')


def wire_to(url: str, **options: Any) -> Wire:
    options = {"connect": 1.0, "read": 0.3, **options}
    return Wire("dynamodb", url, "us-east-1", Credentials("AKID", SECRET, TOKEN), **options)


def always(said: bytes | None) -> Callable[[Any, Request], bytes | None]:
    return lambda _, request: said


@pytest.fixture
def good() -> Iterator[Stub]:
    with serving(always(ANSWERED)) as stub:
        yield stub


# ---------------------------------------------------------------------- what is sent


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("host", ["dynamodb.us-east-1.amazonaws.com", "127.0.0.1:4566"])
def test_the_signature_is_botocores(host: str, token: str | None) -> None:
    body, now = b'{"TableName":"t"}', 1_790_000_000.0
    credentials = Credentials("AKID", SECRET, token)
    target = "DynamoDB_20120810.Scan"
    head = Signer(host, "us-east-1", "agent").head(target, body, credentials, now).decode()
    ours = dict(line.split(":", 1) for line in head.split("\r\n")[1:-2])
    signed = [name for name in ours if name.startswith(("x-amz", "content-type"))]
    request = AWSRequest(
        "POST", f"http://{host}/", headers={name: ours[name] for name in signed}, data=body
    )
    stamp = dt.datetime.fromtimestamp(now, dt.UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda *_: stamp)
        SigV4Auth(credentials, "dynamodb", "us-east-1").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert head.startswith("POST / HTTP/1.1\r\n") and head.endswith("\r\n\r\n")


def test_a_request_is_typed_json_with_the_operation_in_its_head(good: Stub) -> None:
    wire = wire_to(good.url)
    wire.put_item(TableName="t", Item={"pk": {"B": b"\x00\x01\x00"}, "é": {"NULL": True}})
    wire.describe_time_to_live(TableName=("t"), Keys=(1, 2))
    first, second = good.requests
    assert first.line == "POST / HTTP/1.1"
    assert first.headers["x-amz-target"] == "DynamoDB_20120810.PutItem"
    assert first.headers["user-agent"].startswith("fearless/")
    assert orjson.loads(first.body)["Item"] == {"pk": {"B": "AAEA"}, "é": {"NULL": True}}
    assert second.headers["x-amz-target"] == "DynamoDB_20120810.DescribeTimeToLive"
    assert orjson.loads(second.body)["Keys"] == [1, 2]


def test_streams_have_operations_and_a_target_of_their_own(good: Stub) -> None:
    wire = Wire("streams", good.url, "us-east-1", Credentials("AKID", SECRET))
    assert wire.get_records(ShardIterator="i")["Count"] == 1
    assert good.requests[0].headers["x-amz-target"] == "DynamoDBStreams_20120810.GetRecords"
    with pytest.raises(AttributeError, match="scan"):
        wire.scan(TableName="t")


def test_only_known_operations_are_methods_and_they_have_names() -> None:
    wire = wire_to("http://127.0.0.1:1")
    assert wire.transact_write_items.__name__ == "transact_write_items"
    assert OPERATIONS["dynamodb"]["batch_write_item"] == "BatchWriteItem"
    for name in ("get_itme", "meta", "exceptions", "_private", "__wrapped__"):
        with pytest.raises(AttributeError):
            getattr(wire, name)


@pytest.mark.parametrize("value", ["\ud800", Decimal(1), object()])
def test_what_json_cannot_say_is_refused_before_anything_is_sent(good: Stub, value: Any) -> None:
    with pytest.raises(ClientError) as caught:
        wire_to(good.url).put_item(TableName="t", Item={"pk": {"S": value}})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert classify(caught.value) == "final" and not good.requests


def test_credentials_are_asked_for_each_request(good: Stub) -> None:
    keys = iter(["one", "two"])
    frozen = lambda: Credentials(next(keys), SECRET).get_frozen_credentials()  # noqa: E731
    renewed = SimpleNamespace(get_frozen_credentials=frozen)
    wire = Wire("dynamodb", good.url, "us-east-1", renewed)
    wire.list_tables()
    wire.list_tables()
    used = [r.headers["authorization"].partition("Credential=")[2][:3] for r in good.requests]
    assert used == ["one", "two"]


def test_no_credentials_and_no_endpoint_are_said_at_once() -> None:
    with pytest.raises(NoCredentialsError):
        Wire("dynamodb", "http://127.0.0.1:1", "us-east-1", None)
    for url in ("ftp://x", "localhost:80", f"http://user:{SECRET}@host", "http://host/path"):
        with pytest.raises(ConfigError) as caught:
            wire_to(url)
        assert SECRET not in str(caught.value)


# ---------------------------------------------------------------------- the guard


def test_a_guard_that_raises_stops_the_request(good: Stub) -> None:
    def lost() -> None:
        raise FearlessError("the lease is lost")

    wire = wire_to(good.url)
    with pytest.raises(FearlessError, match="lease"):
        wire.guarded(lost).delete_item(TableName="t", Key={})
    assert not good.requests
    assert wire.delete_item(TableName="t", Key={})["Count"] == 1


def test_the_guard_is_asked_after_the_connection_was_made(good: Stub) -> None:
    seen: list[int] = []

    def guard() -> None:
        deadline = time.monotonic() + 2
        while not good.connections and time.monotonic() < deadline:
            time.sleep(0.005)
        seen.append(len(good.connections))

    wire_to(good.url, guard=guard).list_tables()
    assert seen == [1]


# ---------------------------------------------------------------------- what comes back


def test_an_answer_is_the_json_and_its_metadata(good: Stub) -> None:
    answered = wire_to(good.url).list_tables()
    assert answered["Count"] == 1
    assert answered["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answered["ResponseMetadata"]["HTTPHeaders"]["date"].startswith("Tue, 24 Nov")


def test_a_chunked_answer_in_pieces_and_an_interim_one_are_read() -> None:
    def script(connection: Any, _: Request) -> bytes:
        chunks = b"4;x=y\r\n" + b'{"Co' + b"\r\n7\r\n" + b'unt":1}' + b"\r\n0\r\nT: x\r\n\r\n"
        head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for byte in head + chunks[:-1]:
            connection.sendall(bytes([byte]))
        return chunks[-1:]

    with serving(script) as stub:
        wire = wire_to(stub.url)
        assert [wire.list_tables()["Count"] for _ in range(2)] == [1, 1]
    assert len(stub.connections) == 1


def test_a_large_answer_is_read_whole() -> None:
    body = orjson.dumps({"Items": [{"pk": {"S": "x" * 1000}}] * 1000})
    with serving(always(checked(body))) as stub:
        assert len(wire_to(stub.url, read=5).scan(TableName="t")["Items"]) == 1000


def test_a_refusal_has_the_code_and_whatever_else_the_service_said() -> None:
    body = orjson.dumps(
        {
            "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            "message": "The conditional request failed",
            "Item": {"pk": {"S": "k"}},
        }
    )
    with serving(always(answer(body, "400 Bad Request"))) as stub, pytest.raises(ClientError) as e:
        wire_to(stub.url).put_item(TableName="t", Item={})
    assert e.value.response["Error"] == {
        "Code": "ConditionalCheckFailedException",
        "Message": "The conditional request failed",
    }
    assert e.value.response["Item"] == {"pk": {"S": "k"}}  # type: ignore[typeddict-item]
    assert "PutItem" in str(e.value) and classify(e.value) == "final"


@pytest.mark.parametrize(
    ("status", "body", "code", "trouble"),
    [
        ("400 Bad Request", b'{"__type":"a#ThrottlingException"}', "ThrottlingException", 0),
        ("500 Oops", b'{"__type":"a#InternalServerError","Message":"m"}', "InternalServerError", 0),
        ("503 Busy", b'{"message":"m"}', "503", 0),
        ("404 Not Found", b"<html>", "404", 1),
        ("400 Bad Request", b'{"__type":"b#ValidationException:x"}', "ValidationException", 1),
    ],
)
def test_errors_that_were_answered(status: str, body: bytes, code: str, trouble: int) -> None:
    with serving(always(answer(body, status))) as stub, pytest.raises(ClientError) as caught:
        wire_to(stub.url).list_tables()
    assert caught.value.response["Error"]["Code"] == code
    assert classify(caught.value) == ["throttled", "final"][trouble]
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(answer(b"{garbage"), id="no JSON"),
        pytest.param(answer(b"[]"), id="no object"),
        pytest.param(answer(b""), id="empty"),
        pytest.param(answer(b"{}", x_amz_crc32="1"), id="wrong checksum"),
        pytest.param(answer(b"{}", x_amz_crc32="x"), id="no checksum"),
        pytest.param(answer(b"<html>", "502 Bad Gateway"), id="a proxy that may have passed it on"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="no length"),
        pytest.param(answer(b"{}").replace(b": 2", b": -2"), id="negative length"),
        pytest.param(answer(b"{}").replace(b": 2", b": 99999999999"), id="absurd length"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", id="no status"),
        pytest.param(b"x" * 100_000, id="endless head"),
    ],
)
def test_an_answer_that_cannot_be_believed_leaves_it_unknown(said: bytes) -> None:
    with serving(always(said)) as stub, pytest.raises(Garbled) as caught:
        wire_to(stub.url).list_tables()
    assert classify(caught.value) == "unknown" and len(stub.requests) == 1


# ---------------------------------------------------------------------- connections


def test_a_slow_answer_is_a_read_timeout_and_unknown() -> None:
    release = threading.Event()
    with serving(lambda *_: ANSWERED if release.wait(5) else None) as stub:
        started = time.monotonic()
        with pytest.raises(ReadTimeoutError) as caught:
            wire_to(stub.url).put_item(TableName="t", Item={})
        assert 0.25 < time.monotonic() - started < 2
        release.set()
    assert classify(caught.value) == "unknown" and len(stub.requests) == 1


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", ANSWERED[:-3]])
def test_a_connection_closed_before_the_whole_answer_is_unknown(said: bytes) -> None:
    def script(connection: Any, _: Request) -> None:
        connection.sendall(said)

    with serving(script) as stub, pytest.raises(ConnectionClosedError) as caught:
        wire_to(stub.url).put_item(TableName="t", Item={})
    assert classify(caught.value) == "unknown" and len(stub.requests) == 1


def test_nobody_listening_is_unsent() -> None:
    with pytest.raises(EndpointConnectionError) as caught:
        wire_to(f"http://127.0.0.1:{free_port()}").list_tables()
    assert classify(caught.value) == "unsent"


def test_a_connection_that_takes_too_long_is_unsent() -> None:
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with pytest.raises(ConnectTimeoutError) as caught:
            wire_to(f"http://127.0.0.1:{full.getsockname()[1]}", connect=0.2).list_tables()
    assert classify(caught.value) == "unsent"


def test_a_request_of_which_a_part_never_left_is_unsent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        item = {"pk": {"S": "x" * 12_000_000}}
        with pytest.raises(EndpointConnectionError) as caught:
            wire_to(f"http://127.0.0.1:{deaf.getsockname()[1]}").put_item(TableName="t", Item=item)
    assert classify(caught.value) == "unsent"


def test_a_large_request_to_a_slow_reader_arrives_whole() -> None:
    item = {"pk": {"S": "x" * 6_000_000}}
    with serving(always(ANSWERED)) as stub:
        assert wire_to(stub.url, read=5).put_item(TableName="t", Item=item)["Count"] == 1
    assert orjson.loads(stub.requests[0].body)["Item"] == item


def test_connections_are_kept_and_one_that_the_server_closed_is_not_used(good: Stub) -> None:
    wire = wire_to(good.url)
    for _ in range(3):
        wire.list_tables()
    assert len(good.connections) == 1
    good.hang_up()
    time.sleep(0.05)
    assert wire.list_tables()["Count"] == 1
    assert len(good.connections) == 2 and len(good.requests) == 4


def test_one_that_is_reset_while_idle_is_not_used_either(good: Stub) -> None:
    wire = wire_to(good.url)
    wire.list_tables()
    linger = struct.pack("ii", 1, 0)
    good.connections[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    good.hang_up()
    time.sleep(0.05)
    assert wire.list_tables()["Count"] == 1


def test_one_that_was_idle_for_long_or_is_told_to_close_is_not_used(good: Stub) -> None:
    now = [0.0]
    wire = wire_to(good.url, ticks=lambda: now[0])
    wire.list_tables()
    now[0] += connections.IDLE_SECONDS + 1
    wire.list_tables()
    assert len(good.connections) == 2
    with serving(always(answer(b"{}", Connection="close"))) as closing:
        told = wire_to(closing.url)
        told.list_tables()
        told.list_tables()
    assert len(closing.connections) == 2


def test_a_forked_process_shares_no_connection(good: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = wire_to(good.url)
    wire.list_tables()
    monkeypatch.setattr("os.getpid", lambda: -1)
    wire.list_tables()
    assert len(good.connections) == 2


def test_eight_threads_do_not_get_each_others_answers() -> None:
    def echo(_: Any, request: Request) -> bytes:
        return checked(orjson.dumps({"Said": orjson.loads(request.body)["Key"]}))

    wrong: list[Any] = []
    with serving(echo) as stub:
        wire = wire_to(stub.url, read=5, pool=8)

        def work(number: int) -> None:
            for index in range(50):
                key = {"pk": {"S": f"{number}/{index}"}}
                if wire.get_item(TableName="t", Key=key)["Said"] != key:
                    wrong.append(key)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert not wrong and len(stub.requests) == 400 and len(stub.connections) <= 8
        wire.close()


def test_interrupting_a_request_does_not_leave_its_answer_for_the_next(good: Stub) -> None:
    wire = wire_to(good.url)
    wire.list_tables()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wire.guarded(interrupt).list_tables()
    assert wire.list_tables()["Count"] == 1


# ---------------------------------------------------------------------- TLS and proxies


def test_tls_is_checked_against_the_bundle(authority: Authority) -> None:
    with serving(always(ANSWERED), authority.server) as stub:
        wire = wire_to(stub.url, bundle=str(authority.bundle), read=2)
        assert [wire.list_tables()["Count"] for _ in range(3)] == [1, 1, 1]
        assert len(stub.connections) == 1
        with pytest.raises(SSLError) as caught:
            wire_to(stub.url).list_tables()
        assert classify(caught.value) == "final" and len(stub.requests) == 3


def test_the_environments_bundle_counts(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    with serving(always(ANSWERED), authority.server) as stub:
        assert wire_to(stub.url, read=2).list_tables()["Count"] == 1


def test_a_server_that_does_not_speak_tls_is_unsent(good: Stub) -> None:
    with pytest.raises(EndpointConnectionError):
        wire_to(good.url.replace("http:", "https:")).list_tables()


def test_a_proxy_is_used_except_for_this_machine(
    good: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(always(ANSWERED)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:pass%20word@"))
        wire_to("http://dynamodb.invalid:8000").list_tables()
        wire_to(good.url).list_tables()
        assert [r.line for r in proxy.requests] == ["POST http://dynamodb.invalid:8000/ HTTP/1.1"]
        secret = b64encode(b"me:pass word").decode()
        assert proxy.requests[0].headers["proxy-authorization"] == f"Basic {secret}"
        assert proxy.requests[0].headers["host"] == "dynamodb.invalid:8000"
        monkeypatch.setenv("no_proxy", "dynamodb.invalid")
        assert wire_to("http://dynamodb.invalid:8000")._connections.prefix == ""
    assert len(good.requests) == 1


def test_a_proxy_that_makes_no_tunnel_is_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = always(answer(b"", "407 Proxy Authentication Required"))
    with serving(refused) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(EndpointConnectionError) as caught:
            wire_to("https://dynamodb.invalid").list_tables()
    assert proxy.requests[0].line.startswith("CONNECT dynamodb.invalid:443")
    assert classify(caught.value) == "unsent"


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"socks5://me:{SECRET}@proxy.invalid")
    with pytest.raises(ConfigError, match="socks5") as caught:
        wire_to("https://dynamodb.invalid")
    assert SECRET not in str(caught.value)


# ---------------------------------------------------------------------- secrets and time


def test_no_secret_is_shown(good: Stub) -> None:
    wire = wire_to(good.url)
    shown = [repr(wire), repr(copy.copy(wire)), str(wire)]
    for said in (None, answer(b"x"), answer(b'{"__type":"a#X"}', "400 Bad")):
        with serving(always(said)) as stub, pytest.raises(Exception) as caught:
            wire_to(stub.url).list_tables()
        shown += [repr(caught.value), str(caught.value), repr(vars(caught.value))]
    assert not any(secret in text for text in shown for secret in (SECRET, TOKEN, "Signature="))


def test_the_servers_time_is_late_by_a_second_at_most() -> None:
    ticks = [100.0]
    time_there = ServerTime(lambda: ticks[0], lambda: 5.0)
    assert time_there.now() == 5.0
    date = "Tue, 24 Nov 2026 03:00:00 GMT"
    second = dt.datetime(2026, 11, 24, 3, tzinfo=dt.UTC).timestamp()
    time_there.hear(date, 99.5, 100.0)
    assert time_there.now() == second + 1.5
    time_there.hear(date, 100.4, 100.5)
    assert time_there.now() == second + 0.6
    ticks[0] = 3700.0
    assert time_there.now() == second + 3600.6
    time_there.hear("Tue, 24 Nov 2026 05:00:00 GMT", 3700.0, 3700.0)
    assert time_there.now() == second + 7201.0
    for useless in (None, "", "yesterday"):
        time_there.hear(useless, 0.0, 0.0)
    assert time_there.now() == second + 7201.0


def test_a_wire_knows_the_servers_time(good: Stub) -> None:
    wire = wire_to(good.url)
    assert abs(wire.clock() - time.time()) < 1
    wire.list_tables()
    second = dt.datetime(2026, 11, 24, 3, tzinfo=dt.UTC).timestamp()
    assert second <= wire.guarded(None).clock() <= second + 1.5
