"""Back to the release that was live before, under traffic: nothing failed, nothing lost."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import Any

import pytest

from fearless import http

from .checkout import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def old(small: Checkout) -> dict[str, Any]:
    """The production that was planted: version 1."""
    small.run("fearless", "local", "up").ok()
    live: dict[str, Any] = small.doit("status", "json=1").ok().json["live"]
    return live


def test_the_plan_changes_nothing_and_says_it_all(small: Checkout, old: dict[str, Any]) -> None:
    before = small.inventory()
    text = small.doit("plan").ok().out
    plan = small.doit("plan", "json=1").ok().json
    assert small.inventory() == before
    assert not any(step["done"] for step in plan["steps"] if step["step"] != "retire")
    assert [t["name"] for t in plan["transforms"] if t["due"]] == [
        "drop-carts",
        "rename-mail",
        "split-orders",
    ]
    samples = {sample["table"]: sample for sample in plan["sample"]}
    assert set(samples) == {"stores", "orders"}
    assert all(s["read"] and not s["failed"] and not s["not_back"] for s in samples.values())
    assert all(guard["holds"] is not False for guard in plan["guards"])
    assert "way back: `doit rollback` loses nothing" in text
    assert "rename-mail" in text


def test_cutover_and_rollback_under_traffic_lose_nothing(
    small: Checkout, old: dict[str, Any]
) -> None:
    sha = small.git("rev-parse", "HEAD")
    told = small.root.parent / "traffic.json"
    traffic = small.start("fearless", "local", "traffic", "--rate", "15", "--report", str(told))
    try:
        for line in traffic.stdout:
            if re.search(r"\d+ requests", line):
                break
        small.doit("release").ok()
        time.sleep(3)  # customers of version 2
        way = small.doit("status", "json=1").ok().json["live"]["way_back"]
        synced = small.doit("sync").ok()
        time.sleep(1)
        rollback = small.doit("rollback").ok()
        time.sleep(3)  # customers of version 1 again
    finally:
        traffic.send_signal(signal.SIGINT)
        out, err = traffic.communicate(timeout=120)
    assert traffic.returncode == 0, out + err
    report = json.loads(told.read_text())
    assert report["writes"] > 20
    assert (report["failed"], report["lost"]) == (0, 0)
    assert (way["stack"], way["reason"]) == (old["stack"], "")
    assert re.search(rf"\d+ changes carried back to {old['stack']}", synced.out)
    assert re.search(r"rollback +live at http\S+, writes were paused for \d+\.\d s", rollback.out)
    check_old(small, old)
    states = {r["sha"]: r["state"] for r in small.doit("releases", "json=1").ok().json}
    assert states[sha] == "rolled-back"


def check_old(small: Checkout, old: dict[str, Any]) -> None:
    status = small.doit("status", "json=1").ok().json
    live = status["live"]
    assert (live["sha"], live["stack"], live["url"]) == (old["sha"], old["stack"], old["url"])
    assert live["writable"]
    assert live["way_back"] is None
    assert status["lock"] is None
    shown = json.loads(http.get(f"{old['url']}/__release")[1])
    assert shown["stack"] == old["stack"]


def test_again_it_does_nothing_and_says_so(small: Checkout, old: dict[str, Any]) -> None:
    assert "rolled back already" in small.doit("rollback").ok().out
    refused = small.doit("rollback", "sha=0000000")
    assert refused.code == 1
    assert "refused: nothing was live before" in refused.err


def test_what_was_rolled_back_is_refused(small: Checkout) -> None:
    refused = small.doit("release")
    assert refused.code != 0
    assert "its data is behind. Release a new commit" in refused.err


@pytest.mark.parametrize("moment", ["paused"])
def test_released_anew_and_rolled_back_though_killed(
    small: Checkout, old: dict[str, Any], moment: str
) -> None:
    """The former stack's data is what was written last, whoever took it."""
    sha = small.change_app(f"anew, then killed when {moment}")
    small.doit("release").ok()
    live = small.doit("status", "json=1").ok().json["live"]
    assert live["sha"] == sha
    name = f"anew {moment}".strip()
    store = {"id": f"store-{moment}", "name": name, "email": "a@b.example"}
    status, _, _ = http.request("POST", f"{old['url']}/stores", store)
    assert status == 201
    process = small.start("doit", "rollback")
    for line in process.stderr:
        if re.search(rf"are {moment}|were {moment}" if moment else "going back", line):
            break
    process.kill()
    process.communicate()
    small.doit("rollback").ok()
    check_old(small, old)
    stores = json.loads(http.get(f"{old['url']}/stores")[1])["stores"]
    assert ("a@b.example", name) in [(s["email"], s["name"]) for s in stores]


ONE_WAY = "down=rename_email"


def test_a_migration_that_leads_nowhere_back(small: Checkout, old: dict[str, Any]) -> None:
    small.edit("plugins/transforms.py", f", {ONE_WAY}", "")
    small.commit("Forget the way back")
    refused = small.doit("release")
    assert "'rename-mail' has no `down`" in refused.err
    small.edit("plugins/transforms.py", "up=rename_mail", "up=rename_mail, irreversible='why not'")
    small.commit("Say so")
    small.doit("release").ok()
    assert "NONE: rename-mail: why not" in small.doit("status").ok().out
    refused = small.doit("rollback")
    assert refused.code == 1
    assert "rename-mail: why not" in refused.err
    assert small.doit("status", "json=1").ok().json["live"]["sha"] != old["sha"]
    small.doit("rollback", "accept_data_loss=1").ok()
    check_old(small, old)
    assert list((small.root / ".fearless").glob("lost-*.jsonl"))
