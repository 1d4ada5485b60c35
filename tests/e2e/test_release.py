"""The whole procedure under traffic, as a user runs it: nothing failed, nothing lost."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from typing import Any

import pytest

from fearless import http

from .checkout import Checkout, still

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def shown(url: str) -> dict[str, Any]:
    status, body = http.get(url + "/__release")
    assert status == 200
    answer: dict[str, Any] = json.loads(body)
    return answer


def test_the_first_command_plants_a_production_and_shows_it(shop: Checkout) -> None:
    before = shop.doit().ok()
    assert "stopped. `fearless local up` starts it" in before.out
    assert not (shop.root / ".fearless" / "cloud.json").exists()
    up = shop.run("fearless", "local", "up").ok()
    status = shop.doit("status", "json=1").ok().json
    assert status["live"]["url"] in up.out
    assert shown(status["live"]["url"])["stack"] == status["live"]["stack"]
    assert status["candidates"] == []
    assert status["lock"] is None


def test_a_release_under_traffic_fails_and_loses_nothing(shop: Checkout) -> None:
    old = shop.doit("status", "json=1").ok().json["live"]
    report = shop.root.parent / "traffic.json"
    traffic = shop.start("fearless", "local", "traffic", "--rate", "20", "--report", str(report))
    try:
        for line in traffic.stdout:
            if re.search(r"\d+ requests", line):
                break
        release = shop.doit("release").ok()
        time.sleep(2)  # customers on the new stack, too
    finally:
        traffic.send_signal(signal.SIGINT)
        out, err = traffic.communicate(timeout=120)
    assert traffic.returncode == 0, out + err
    told = json.loads(report.read_text())
    assert told["requests"] > 200
    assert told["writes"] > 20
    assert told["failed"] == 0
    assert told["lost"] == 0

    status = shop.doit("status", "json=1").ok().json
    sha = shop.git("rev-parse", "HEAD")
    assert status["live"]["sha"] == sha
    assert status["live"]["url"] == old["url"]
    assert shown(old["url"])["sha"] == sha
    assert [former["stack"] for former in status["former"]] == [old["stack"]]
    lines = [line.split()[0] for line in release.out.splitlines() if line.startswith("  ")]
    order = ["tag", "image", "ami", "stack", "copy", "sync", "gate:targets"]
    assert lines[: len(order)] == order
    assert lines.index("gate:lag") < lines.index("cutover") < lines.index("retire")
    summary = dict(
        line.split(maxsplit=1) for line in release.out.splitlines()[-7:] if line[:2] == "  "
    )
    assert summary["url"] == old["url"]
    assert summary["sha"] == sha
    assert re.match(r"2\d,\d{3} copied, 1\d,\d{3} migrated, \d{3} dropped", summary["items"])
    assert re.match(r"paused for \d+\.\d s", summary["writes"])
    assert "cutover" in summary["seconds"]


def test_running_it_again_does_nothing_and_says_so(shop: Checkout) -> None:
    before = shop.inventory()
    again = shop.doit("release").ok()
    assert again.out.splitlines()[-1].startswith("Nothing to do: shop ")
    assert again.seconds < 5
    assert shop.inventory() == before


def test_images_are_shown_with_what_uses_them_and_none_of_those_goes(shop: Checkout) -> None:
    live = shop.doit("status", "json=1").ok().json["live"]
    images = {image["tag"]: image for image in shop.doit("images", "json=1").ok().json["images"]}
    assert f"the stack {live['stack']}" in images[live["sha"]]["uses"]
    assert images[live["sha"]]["size"] > 0
    reaped = shop.doit("image_reap", "keep=0", "days=0", "yes=1", "json=1").ok().json
    assert reaped["deleted"] == []
    assert set(reaped["kept"]) == set(images)


def test_deleting_doits_database_changes_nothing(shop: Checkout) -> None:
    before = shop.inventory()
    for path in (shop.root / ".fearless").glob("doit.db*"):
        path.unlink()
    assert "Nothing to do" in shop.doit("release").ok().out
    assert shop.inventory() == before


def test_the_summary_is_one_json_object(shop: Checkout) -> None:
    summary = shop.doit("release", "json=1").ok().json
    assert summary["live"] is True
    assert summary["made"] == []
    assert summary["items"]["copied"] > 20_000
    assert set(summary["steps"]) >= {"tag", "image", "ami", "stack", "copy", "sync", "cutover"}


def test_releases_are_remembered(shop: Checkout) -> None:
    history = shop.doit("releases", "json=1").ok().json
    assert [entry["state"] for entry in history] == ["former", "live"]
    assert history[-1]["sha"] == shop.git("rev-parse", "HEAD")


def test_everything_survives_stop_and_up(shop: Checkout) -> None:
    before, live = shop.inventory(), shop.doit("status", "json=1").ok().json["live"]
    shop.run("fearless", "local", "stop").ok()
    assert shop.doit("status", "json=1").ok().json["live"] is None
    shop.run("fearless", "local", "up").ok()
    again = shop.doit("status", "json=1").ok().json["live"]
    assert still(again) == still(live)
    assert again["way_back"]["reason"] == ""
    deadline = time.monotonic() + 60
    while http.get(live["url"] + "/healthz")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    after = shop.inventory()
    assert {**after, "instances": []} == {**before, "instances": []}
    assert len(after["instances"]) == len(before["instances"])
    assert "Nothing to do" in shop.doit("release").ok().out


def test_an_instance_that_dies_is_replaced(shop: Checkout) -> None:
    def instances() -> dict[str, int]:
        status = shop.run("fearless", "local", "status", "--json").ok().json
        return {i["id"]: i["pid"] for i in status["instances"] if i["state"] == "running"}

    before = instances()
    victim = sorted(before)[0]
    os.kill(before[victim], signal.SIGKILL)
    deadline = time.monotonic() + 60
    while victim in (now := instances()) or len(now) < len(before):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    url = shop.doit("status", "json=1").ok().json["live"]["url"]
    with urllib.request.urlopen(url + "/healthz") as answer:
        assert answer.status == 200
