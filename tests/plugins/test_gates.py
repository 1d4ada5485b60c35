"""The gates of plugins/: they pass a candidate that works, and say what is wrong with others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fearless import Candidate, GateFailed, Release, Stack, http
from fearless.testing.emulator import Emulator
from tests import shop_app
from tests.shop_app import PLUGINS

SHA = "4f2a9c1d5e6b7a8f9c0d1e2f3a4b5c6d7e8f9a0b"
RELEASE = Release("shop", SHA, "20261123-4f2a9c1", "release/1", "shop-r-1")
STACK = Stack("shop-r-1", "id", "CREATE_COMPLETE", "release", RELEASE.name, SHA, datetime.now(UTC))

shop_gate = shop_app.load(PLUGINS / "shop.py", "shop_gate")
smoke = shop_app.load(PLUGINS / "smoke.py", "smoke_gate")

Change = Callable[[str, str, int, Any], tuple[int, Any]]


def candidate(url: str, change: Change = lambda m, p, status, body: (status, body)) -> Candidate:
    """A candidate at `url`; `change(method, path, status, body)` alters its answers."""

    def altered(method: str, path: str, answer: tuple[int, bytes]) -> tuple[int, bytes]:
        try:
            decoded = json.loads(answer[1])
        except ValueError:
            return answer
        status, body = change(method, path, answer[0], decoded)
        return status, json.dumps(body).encode()

    def get(path: str) -> tuple[int, bytes]:
        return altered("GET", path, http.get(url + path))

    def post(path: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        return altered("POST", path, http.post(url + path, dict(body)))

    return Candidate(RELEASE, STACK, url, get, post)


@pytest.fixture(scope="module")
def tables(emulator: Emulator) -> dict[str, str]:
    tables = shop_app.create_tables(emulator)
    shop_app.fill(emulator, tables, {"coffee-03"}, version=2)
    return tables


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop_app.source(2, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def url(emulator: Emulator, tables: dict[str, str], source: Path) -> Any:
    """The shop as a candidate: it may write what belongs to test stores, and nothing else."""
    role = shop_app.assume(emulator, shop_app.reading(tables), shop_app.writing_test_data(tables))
    with shop_app.running(source, emulator.url, tables, role, FEARLESS_SHA=SHA) as shop:
        yield shop.url


def contents(emulator: Emulator, table: str) -> list[Any]:
    return sorted(map(str, emulator.client("dynamodb").scan(TableName=table)["Items"]))


def test_a_working_candidate_passes_twice_and_nothing_real_changes(
    url: str, emulator: Emulator, tables: dict[str, str]
) -> None:
    before = contents(emulator, tables["orders"])
    for _ in range(2):
        evidence = shop_gate.works(candidate(url))
        assert evidence == (
            "1 stores listed, a test order came and went, a write to a real store was refused"
        )
    assert contents(emulator, tables["orders"]) == before


def test_a_candidate_that_may_write_real_stores_fails_and_nothing_real_changes(
    emulator: Emulator, tables: dict[str, str], source: Path
) -> None:
    before = contents(emulator, tables["orders"])
    with (
        shop_app.running(source, emulator.url, tables, FEARLESS_SHA=SHA) as shop,
        pytest.raises(GateFailed, match="a write to the real store 'coffee-03' answered 200"),
    ):
        shop_gate.works(candidate(shop.url))
    assert contents(emulator, tables["orders"]) == before


def test_an_empty_production_has_nothing_to_try_a_write_with(
    emulator: Emulator, source: Path
) -> None:
    tables = shop_app.create_tables(emulator)
    with shop_app.running(source, emulator.url, tables, FEARLESS_SHA=SHA) as shop:
        evidence = shop_gate.works(candidate(shop.url))
    assert evidence.endswith("there is no real order to try a write with")


@pytest.mark.parametrize(
    ("where", "status", "body", "says"),
    [
        ("GET /__release", 200, {"sha": "0" * 40}, f"shows {'0' * 40}, not {SHA}"),
        ("GET /stores", 200, {"stores": [{"id": "a", "email": ""}]}, "no e-mail address: a"),
        ("GET /stores", 500, {"error": "oh"}, "GET /stores answered 500"),
        ("POST /stores/test-smoke/orders", 503, {"error": "no"}, "orders answered 503"),
        ("GET /stores/coffee-03/products/p-0000", 500, {}, "products/p-0000 answered 500"),
        ("GET /stores/test-smoke/orders/smoke-4f2a9c1", 200, {}, "reads differently"),
    ],
)
def test_it_says_what_is_wrong(url: str, where: str, status: int, body: Any, says: str) -> None:
    def change(method: str, path: str, was: int, shown: Any) -> tuple[int, Any]:
        return (status, body) if f"{method} {path}" == where else (was, shown)

    with pytest.raises(GateFailed, match=says):
        shop_gate.works(candidate(url, change))


def answering(status: int) -> Candidate:
    return Candidate(RELEASE, STACK, "", lambda path: (status, b""), lambda path, body: (500, b""))


def test_smoke_wants_a_200() -> None:
    assert smoke.front_page(answering(200)).startswith("GET / answered 200 in ")
    with pytest.raises(GateFailed, match="GET / answered 502"):
        smoke.front_page(answering(502))


def test_smoke_wants_it_within_a_second() -> None:
    times = iter((10.0, 11.5))
    with pytest.raises(GateFailed, match=r"took 1\.5 s, more than 1 s"):
        smoke.front_page(answering(200), lambda: next(times))


def test_each_gate_has_a_name_of_its_own() -> None:
    names = [gate.name for module in (shop_gate, smoke) for gate in module.gates()]
    assert names == ["shop", "smoke"]
