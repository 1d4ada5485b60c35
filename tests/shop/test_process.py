"""The shop as a process: its settings, paused writes, and how it stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from fearless.testing.emulator import Emulator
from tests import shop_app

STORE = "coffee-03"


class SlowDatabase:
    """A TCP relay to the emulator that keeps requests waiting while it is told to."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.go = threading.Event()
        self.go.set()
        self.held = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.go.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._relay, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._relay, args=(server, client, False), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, hold: bool) -> None:
        try:
            while data := source.recv(65536):
                if hold and not self.go.is_set():
                    self.held.set()
                    self.go.wait(20)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            sink.close()


@pytest.fixture
def database(emulator: Emulator) -> Iterator[SlowDatabase]:
    relay = SlowDatabase(int(emulator.url.rpartition(":")[2]))
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def tables(emulator: Emulator) -> dict[str, str]:
    tables = shop_app.create_tables(emulator)
    shop_app.fill(emulator, tables, {STORE}, version=2)
    return tables


def test_writes_that_are_denied_are_paused_and_reads_go_on(
    emulator: Emulator, tables: dict[str, str], tmp_path: Path
) -> None:
    credentials = shop_app.assume(emulator, shop_app.reading(tables))
    source = shop_app.source(2, tmp_path)
    with shop_app.running(source, emulator.url, tables, credentials) as shop:
        _, shown = shop.call("GET", f"/stores/{STORE}/orders?limit=1")
        (there,) = shown["orders"]
        path = f"/stores/{STORE}/orders"
        new = {name: there[name] for name in ("customer", "lines")} | {"id": "20990101-1"}
        for method, where, body in (
            ("POST", path, new),
            ("POST", path, new | {"id": there["id"]}),
            ("DELETE", f"{path}/{there['id']}", None),
            ("PUT", f"{path}/{there['id']}/status", {"status": "returned"}),
            ("PUT", f"/stores/{STORE}/products/p-0001/price", {"price": "1.00"}),
            ("POST", "/stores", {"id": "new", "name": "New", "email": "n@new.example"}),
        ):
            status, headers, answer = shop.ask(method, where, body)
            assert (status, answer) == (503, {"error": "writes are paused"}), where
            assert headers["retry-after"] == "1"
        assert shop.call("GET", f"{path}/{there['id']}") == (200, there)
        assert shop.call("GET", f"{path}/20990101-1")[0] == 404


def test_sigterm_lets_a_request_in_flight_finish(
    database: SlowDatabase, tables: dict[str, str], tmp_path: Path
) -> None:
    with (
        shop_app.running(shop_app.source(2, tmp_path), database.url, tables) as shop,
        ThreadPoolExecutor(1) as pool,
    ):
        database.go.clear()
        slow = pool.submit(shop.call, "GET", "/stores")
        assert database.held.wait(10)
        shop.process.send_signal(signal.SIGTERM)
        wait_until_refused(shop.url)
        database.go.set()
        status, shown = slow.result(10)
        assert status == 200
        assert shown["stores"][0]["id"] == STORE
        assert shop.process.wait(10) == 0


def test_sigterm_under_load_answers_every_connection_it_took(
    emulator: Emulator, tables: dict[str, str], tmp_path: Path
) -> None:
    with (
        shop_app.running(shop_app.source(2, tmp_path), emulator.url, tables) as shop,
        ThreadPoolExecutor(6) as pool,
    ):
        busy = threading.Barrier(7)
        clients = [pool.submit(ask_until_refused, shop.url, busy) for _ in range(6)]
        busy.wait(10)
        shop.process.send_signal(signal.SIGTERM)
        assert all(client.result(20) > 0 for client in clients)
        assert shop.process.wait(10) == 0


def ask_until_refused(url: str, busy: threading.Barrier) -> int:
    """Ask on a connection of its own each time; how often it was answered.

    A connection the kernel completed but the app never took is reset when the listening socket
    closes; no server can prevent that, which is why load balancers drain first. It ends the
    asking like a refusal, and nothing but the very last request may end so.
    """
    answered = 0
    while True:
        connection = HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]), timeout=10)
        try:
            connection.connect()
        except ConnectionRefusedError:
            return answered
        try:
            connection.request("GET", f"/stores/{STORE}")
            status = connection.getresponse().status
        except ConnectionResetError:
            wait_until_refused(url)
            return answered
        assert status == 200
        connection.close()
        answered += 1
        if answered == 5:
            busy.wait(10)


def wait_until_refused(url: str) -> None:
    deadline = time.monotonic() + 10
    port = int(url.rpartition(":")[2])
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.02)
    raise AssertionError("new connections are still accepted")


def test_it_stays_healthy_while_the_database_is_away(
    database: SlowDatabase, tables: dict[str, str], tmp_path: Path
) -> None:
    with shop_app.running(shop_app.source(2, tmp_path), database.url, tables) as shop:
        database.go.clear()
        assert shop.call("GET", "/healthz")[0] == 200
        database.go.set()


def test_it_is_not_healthy_before_it_can_read(emulator: Emulator, tmp_path: Path) -> None:
    missing = dict.fromkeys(shop_app.TABLES, "no-such-table")
    with (
        pytest.raises(AssertionError, match="did not start"),
        shop_app.running(shop_app.source(2, tmp_path), emulator.url, missing, start_timeout=3),
    ):
        pass


def test_items_that_are_no_stores_are_not_listed(
    emulator: Emulator, tables: dict[str, str], tmp_path: Path
) -> None:
    """Syncing leaves marks of its own in the tables for a moment."""
    key = {"store_id": {"S": "~mig#hb#1"}, "object_id": {"S": "~mig#hb#1"}}
    client = emulator.client("dynamodb")
    client.put_item(TableName=tables["stores"], Item=key)
    try:
        with shop_app.running(shop_app.source(2, tmp_path), emulator.url, tables) as shop:
            _, shown = shop.call("GET", "/stores")
            assert [store["id"] for store in shown["stores"]] == [STORE]
    finally:
        client.delete_item(TableName=tables["stores"], Key=key)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({}, "shop: not set: TABLE_STORES, TABLE_PRODUCTS, TABLE_ORDERS (the names"),
        ({"TABLE_STORES": "s", "TABLE_PRODUCTS": "p"}, "shop: not set: TABLE_ORDERS ("),
        (
            {"TABLE_STORES": "s", "TABLE_PRODUCTS": "p", "TABLE_ORDERS": "o", "PORT": "eighty"},
            "shop: PORT must be a number from 1 to 65535, is 'eighty'",
        ),
    ],
)
def test_bad_settings_are_one_clear_line(env: dict[str, str], says: str) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "shop"],
        cwd=shop_app.SHOP,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert process.returncode == 2
    assert process.stderr.startswith(says)
    assert process.stderr.count("\n") == 1
