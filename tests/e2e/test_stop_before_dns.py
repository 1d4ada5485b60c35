"""`[cutover] auto = false`: the candidate waits, is tested, brought up to date, and goes live."""

from __future__ import annotations

import json
import re

import pytest

from fearless import http

from .checkout import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_candidate_waits_for_its_cutover(small: Checkout) -> None:
    small.edit("release.toml", "auto = true ", "auto = false")
    sha = small.commit("Stop before DNS")
    dry = small.doit("release", "dry=1").ok()
    assert "note: the cloud does not answer, so nothing is there yet" in dry.out
    assert "stack            would be done" in dry.out
    assert not (small.root / ".fearless" / "cloud.json").exists()
    run = small.doit("release").ok()
    assert "ready to go live" in run.out
    assert f"next      doit cutover sha={sha}" in run.out
    status = small.doit("status", "json=1").ok().json
    (candidate,) = status["candidates"]
    assert candidate["sha"] == sha
    assert status["live"]["sha"] != sha
    url = re.search(r"  url +(\S+)", run.out)
    assert url is not None
    assert json.loads(http.get(url[1] + "/__release")[1])["sha"] == sha

    store = json.loads(http.get(url[1] + "/stores")[1])["stores"][0]["id"]
    order = {
        "id": "late-1",
        "customer": {"name": "Ann", "email": "ann@example.com"},
        "lines": [{"product_id": _product(url[1], store), "quantity": 2}],
    }
    status_code, answer = http.post(f"{url[1]}/stores/{store}/orders", order)
    assert (status_code, json.loads(answer)["error"]) == (503, "writes are paused")
    live = status["live"]["url"]
    assert http.post(f"{live}/stores/{store}/orders", order)[0] in (200, 201)

    planned = small.doit("cutover", f"sha={sha}", "dry=1").ok()
    assert "cutover          would be done" in planned.out
    assert small.doit("status", "json=1").ok().json["live"]["sha"] != sha
    small.doit("cutover", f"sha={sha}").ok()
    assert small.doit("status", "json=1").ok().json["live"]["sha"] == sha
    assert json.loads(http.get(f"{live}/__release")[1])["sha"] == sha
    status_code, answer = http.get(f"{live}/stores/{store}/orders/late-1")
    assert status_code == 200
    assert json.loads(answer)["lines"][0]["quantity"] == 2


def _product(url: str, store: str) -> str:
    products = json.loads(http.get(f"{url}/stores/{store}/products")[1])["products"]
    product: str = products[0]["id"]
    return product
