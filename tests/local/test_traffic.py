"""Traffic: it passes an app that works, and reports every failed request and every lost write."""

from __future__ import annotations

import argparse
import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fearless import ConfigError, FearlessError, Refused
from fearless.local import traffic
from fearless.local.traffic import Traffic
from fearless.local.traffic.client import Answer, target
from fearless.testing.emulator import Emulator, free_port
from tests import shop_app
from tests.local.faulty_proxy import Exchange, Respond, proxy
from tests.shop_app import Shop

PAUSED = (
    503,
    {"Content-Type": "application/json", "Retry-After": "0"},
    b'{"error": "writes are paused"}',
)
FAILED = (500, {"Content-Type": "text/plain"}, b"oh")


@pytest.fixture(scope="module", params=[1, 2], ids=["v1", "v2"])
def each_shop(
    request: pytest.FixtureRequest, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    yield from running(emulator, tmp_path_factory.mktemp("shop"), request.param)


@pytest.fixture(scope="module")
def shop(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    yield from running(emulator, tmp_path_factory.mktemp("shop"), 2)


def running(emulator: Emulator, folder: Path, version: int) -> Iterator[Shop]:
    tables = shop_app.create_tables(emulator)
    shop_app.fill(emulator, tables, {"books-06", "coffee-03"}, version)
    with shop_app.running(
        shop_app.source(version, folder), emulator.url, tables, FEARLESS_RELEASE="r-1"
    ) as app:
        yield app


def load(url: str, seconds: float = 1.2, **settings: Any) -> dict[str, Any]:
    settings = {"rate": 150, "workers": 5, "recheck": 0.05, "timeout": 3} | settings
    return Traffic(url, **settings).run(seconds)


def through(shop: Shop, respond: Respond, **settings: Any) -> dict[str, Any]:
    """The report of traffic through a proxy that treats requests as `respond` says."""
    with proxy(shop.url, respond) as url:
        return load(url, **settings)


# --------------------------------------------------------------------- an app that works


def test_an_app_that_works_passes_and_every_write_is_read_back(each_shop: Shop) -> None:
    report = load(each_shop.url, seconds=4, verify_interval=0.5)
    assert report["passed"], report["failures"] + report["lost_writes"]
    assert report["requests"] > 200
    done = report["acknowledged"]
    assert set(done) == {"placed", "changed", "deleted", "priced"}
    assert report["verified"] > done["placed"]
    assert report["paused"]["count"] == report["stale"] == report["uncertain"] == 0
    assert list(report["releases"]) == ["r-1"]
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["max"]


def test_the_orders_are_really_in_the_app(shop: Shop) -> None:
    load_ = Traffic(shop.url, rate=100, workers=2)
    load_.run(1.5)
    for path in load_.book.paths():
        entry = load_.book.entry(path)
        assert entry is not None
        status, shown = shop.call("GET", path)
        assert (status == 404) if entry.fields is None else (shown | entry.fields == shown)


def test_the_rate_is_kept(shop: Shop) -> None:
    report = load(shop.url, seconds=4, rate=50)
    assert 130 <= report["requests"] - report["verified"] <= 270


# ------------------------------------------------------------------------- lost writes


def test_an_acknowledged_order_that_vanishes_is_lost(shop: Shop) -> None:
    lost: list[str] = []

    def respond(exchange: Exchange) -> Any:
        answer = exchange.forward()
        if exchange.method == "POST" and answer[0] == 201 and not lost:
            lost.append(f"{exchange.path}/{json.loads(answer[2])['id']}")
            assert exchange.forward("DELETE", lost[0], b"")[0] == 200
        return answer

    report = through(shop, respond)
    assert not report["passed"]
    assert [(w["path"], w["reason"]) for w in report["lost_writes"]] == [(lost[0], "is missing")]
    assert report["lost"] == 1


def test_an_acknowledged_change_that_is_undone_is_lost(shop: Shop) -> None:
    def respond(exchange: Exchange) -> Any:
        if exchange.method == "PUT" and exchange.path.endswith("/price"):
            told = json.loads(exchange.body)["price"]
            status, headers, body = exchange.forward(body=b'{"price": "999999.99"}')
            return status, headers, json.dumps(json.loads(body) | {"price": told}).encode()
        return exchange.forward()

    report = through(shop, respond)
    assert not report["passed"]
    assert report["lost"] == len(report["lost_writes"]) > 0
    assert all("price is '999999.99', not" in w["reason"] for w in report["lost_writes"])


def test_a_deleted_order_that_comes_back_is_lost(shop: Shop) -> None:
    placed: dict[str, bytes] = {}

    def respond(exchange: Exchange) -> Any:
        answer = exchange.forward()
        if exchange.method == "POST":
            placed[f"{exchange.path}/{json.loads(exchange.body)['id']}"] = exchange.body
        if exchange.method == "DELETE" and answer[0] == 200:
            orders = exchange.path.rpartition("/")[0]
            assert exchange.forward("POST", orders, placed[exchange.path])[0] == 201
        return answer

    report = through(shop, respond)
    assert not report["passed"]
    assert report["lost"] == report["acknowledged"]["deleted"] > 0
    assert {w["reason"] for w in report["lost_writes"]} == {"was deleted, but answers 200"}


def test_a_write_that_shows_a_little_later_is_not_lost_but_counted(shop: Shop) -> None:
    hidden: list[str] = []

    def respond(exchange: Exchange) -> Any:
        answer = exchange.forward()
        if exchange.method == "POST" and answer[0] == 201 and not hidden:
            hidden.append(f"{exchange.path}/{json.loads(answer[2])['id']}")
        if [exchange.path] == hidden and exchange.method == "GET":
            hidden.append("shown once")
            return 404, {}, b""
        return answer

    report = through(shop, respond)
    assert (report["passed"], report["stale"], report["lost"]) == (True, 1, 0)


# -------------------------------------------------------------------- failed requests


def test_every_error_answer_is_reported_with_time_and_reason(shop: Shop) -> None:
    failed: list[tuple[str, str]] = []

    def respond(exchange: Exchange) -> Any:
        if exchange.number % 20 == 10:
            failed.append((exchange.method, exchange.path))
            return FAILED
        return exchange.forward()

    report = through(shop, respond)
    assert not report["passed"]
    assert report["lost"] == 0
    assert report["failed"] == len(failed) > 3
    assert sorted((f["method"], f["path"]) for f in report["failures"]) == sorted(failed)
    assert all(f["reason"] == "500 oh" and f["at"].endswith("+00:00") for f in report["failures"])


def test_a_server_that_goes_away_is_reported(shop: Shop) -> None:
    load_ = Traffic("http://127.0.0.1:1", rate=100)
    with proxy(shop.url, lambda exchange: exchange.forward()) as url:
        load_ = Traffic(url, rate=100, workers=4, recheck=0)
        thread = threading.Thread(target=load_.run, args=(3,))
        thread.start()
        wait_for(lambda: load_.tally.counts.requests > 50)
    thread.join(30)
    assert load_.tally.counts.failed > 0
    assert any("ConnectionRefused" in failure.reason for failure in load_.tally.failures)


@pytest.mark.parametrize("carried_out", [True, False], ids=["carried-out", "not-carried-out"])
def test_what_became_of_an_unanswered_write_is_found_out_by_reading(
    shop: Shop, carried_out: bool
) -> None:
    cut: list[str] = []

    def respond(exchange: Exchange) -> Any:
        if exchange.method != "GET" and (exchange.number % 3 == 0 or exchange.path in cut):
            cut.append(exchange.path)
            if carried_out:
                exchange.forward()
            return None
        return exchange.forward()

    report = through(shop, respond)
    assert report["failed"] > 0
    assert report["lost"] == report["uncertain"] == 0, report["lost_writes"]


# ------------------------------------------------------------- pauses and reconnects


def test_paused_writes_wait_and_are_counted_and_not_failed(shop: Shop) -> None:
    refused: list[int] = []

    def respond(exchange: Exchange) -> Any:
        if exchange.method != "GET" and len(refused) < 20:
            refused.append(exchange.number)
            return PAUSED
        return exchange.forward()

    report = through(shop, respond)
    assert report["passed"], report["failures"]
    paused = report["paused"]
    assert 1 <= paused["count"] <= 20 == len(refused) == report["statuses"][503]
    assert 0 < paused["longest_ms"] < 2000
    assert report["started"] <= paused["first"] <= paused["last"]
    assert paused["abandoned"] == 0


def test_retry_after_is_kept_to_and_a_paused_write_ends_with_the_run(shop: Shop) -> None:
    def respond(exchange: Exchange) -> Any:
        if exchange.method != "GET":
            return PAUSED[0], PAUSED[1] | {"Retry-After": "10"}, PAUSED[2]
        return exchange.forward()

    report = through(shop, respond, seconds=1)
    assert report["passed"]
    assert report["paused"]["abandoned"] == report["paused"]["count"] == report["statuses"][503]
    assert report["seconds"] < 3


@pytest.mark.parametrize(
    "answer",
    [(503, {}, PAUSED[2]), (503, {"Retry-After": "1"}, b'{"error": "busy"}'), FAILED],
    ids=["no-retry-after", "other-error", "500"],
)
def test_other_refusals_of_writes_are_failures(shop: Shop, answer: Any) -> None:
    def respond(exchange: Exchange) -> Any:
        return answer if exchange.method == "POST" else exchange.forward()

    report = through(shop, respond, seconds=1)
    assert not report["passed"]
    assert report["paused"]["count"] == 0


def test_reads_are_never_paused() -> None:
    assert Answer(503, {"retry-after": "1"}, PAUSED[2]).paused
    assert not Answer(503, {"retry-after": "1"}, b"[]").paused
    assert not Answer(500, {"retry-after": "1"}, PAUSED[2]).paused


def test_connections_closed_while_idle_are_opened_again_and_counted(shop: Shop) -> None:
    def respond(exchange: Exchange) -> Any:
        exchange.hang_up = exchange.number % 5 == 0
        return exchange.forward()

    report = through(shop, respond)
    assert report["passed"], report["failures"]
    assert report["reconnects"] > 5


# ------------------------------------------------------------------------- the command


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    traffic.add_arguments(parser)
    return parser.parse_args(words)


def test_the_command_reports_and_exits_0(shop: Shop, tmp_path: Path) -> None:
    out = io.StringIO()
    file = tmp_path / "report.json"
    code = traffic.run(parse("--seconds", "6", "--report", str(file)), shop.url, out)
    assert code == 0
    lines = out.getvalue().splitlines()
    assert len([line for line in lines if line.endswith(", 0 failed, 0 lost, r-1")]) == 1
    assert lines[-1] == "0 failed requests, 0 lost writes"
    report = json.loads(file.read_text())
    assert (report["passed"], report["url"], report["failed"]) == (True, shop.url, 0)


def test_the_command_exits_1_and_lists_what_failed(shop: Shop) -> None:
    def respond(exchange: Exchange) -> Any:
        return FAILED if exchange.number == 5 else exchange.forward()

    out = io.StringIO()
    with proxy(shop.url, respond) as url:
        assert traffic.run(parse("--seconds", "1"), url, out) == 1
    assert "500 oh" in out.getvalue()
    assert out.getvalue().splitlines()[-1] == "1 failed requests, 0 lost writes"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary(shop: Shop, number: int) -> None:
    code = (
        "import sys; from tests.local.test_traffic import parse, traffic;"
        "sys.exit(traffic.run(parse('--rate', '60'), sys.argv[1]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, shop.url],
        cwd=Path(__file__).parent.parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert " requests (" in process.stdout.readline()
    process.send_signal(number)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0, rest
    assert rest.endswith("0 failed requests, 0 lost writes\n")


def test_it_is_light(shop: Shop) -> None:
    code = (
        "import sys, time; from fearless.local.traffic import Traffic;"
        "before = time.process_time(); Traffic(sys.argv[1]).run(5);"
        "print((time.process_time() - before) / 5)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, shop.url], capture_output=True, text=True, timeout=60
    )
    assert float(done.stdout) < 0.15


def test_the_seed_decides_what_customers_do(shop: Shop) -> None:
    def asked(seed: int) -> list[str]:
        paths: list[str] = []

        def respond(exchange: Exchange) -> Any:
            paths.append(f"{exchange.method} {exchange.path.partition('/orders/')[0]}")
            return exchange.forward()

        through(shop, respond, seconds=1.5, workers=1, rate=60, seed=seed)
        return paths[:40]

    assert asked(7) == asked(7) != asked(8)


# --------------------------------------------------------------------------- the URL


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://10.0.0.1:8080",
        "http://localhost.example.com",
        "http://0.0.0.0:80",
        "http://user@192.168.1.1",
    ],
)
def test_only_this_machine_gets_traffic(url: str) -> None:
    with pytest.raises(Refused, match="not on this machine") as refused:
        traffic.run(parse(), url)
    assert refused.value.exit_code == 3


def test_localhost_names_are_dialled_at_127_0_0_1() -> None:
    for name in ("localhost", "shop.localhost", "shop-r-1.elb.localhost"):
        found = target(f"http://{name}:8123/base/")
        assert (found.address, found.port) == ("127.0.0.1", 8123)
        assert (found.host, found.base) == (f"{name}:8123", "/base")
    assert target("http://[::1]:80").address == "::1"


@pytest.mark.parametrize("url", ["https://localhost", "localhost:80", "http://localhost:x", ""])
def test_what_is_not_a_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a URL"):
        target(url)


def test_nothing_answering_is_one_clear_error(tmp_path: Path) -> None:
    url = f"http://shop.localhost:{free_port()}"
    with pytest.raises(FearlessError, match=f"no shop answers at {url}/stores: Connection"):
        traffic.run(parse(), url)
    with pytest.raises(ConfigError, match="there is no directory"):
        traffic.run(parse("--report", str(tmp_path / "no" / "r.json")), url)


@pytest.mark.parametrize("words", [["--rate", "0"], ["--seconds", "-1"], ["--workers", "0"]])
def test_numbers_must_make_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(*words)
    assert "must be" in capsys.readouterr().err


def wait_for(condition: Any, seconds: float = 15) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen in time")
