"""SIGKILL during any step, then the same command: it completes, and nothing is made twice."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest

from fearless import http

from .checkout import Checkout, still

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BEFORE = {
    "image": "tag",
    "ami": "image",
    "stack": "ami",
    "copy": "stack",
    "sync": "copy",
    "gate:targets": "sync",
    "cutover": "gate:lag",
    "retire": "cutover",
}
"""The step whose line on the screen means that the next one has begun."""


@pytest.fixture(scope="module", autouse=True)
def production(small: Checkout) -> None:
    small.run("fearless", "local", "up").ok()


def test_killed_when_a_step_begins_each_in_turn(small: Checkout) -> None:
    """Each run takes up what the one before left, gets as far as the next step, and dies there."""
    sha = small.change_app("killed at every step")
    killed = [small.kill_during(BEFORE[step], "release") for step in BEFORE]
    assert all(killed[:-1])
    small.doit("release").ok()
    check_released(small, sha)


def check_released(small: Checkout, sha: str) -> None:
    """It is live and there is one of each thing."""
    status = small.doit("status", "json=1").ok().json
    assert status["live"]["sha"] == sha
    assert status["candidates"] == []
    assert status["lock"] is None
    name = f"shop-r-{sha[:10]}"
    inventory = small.inventory()
    assert len([s for s in inventory["stacks"] if f"/{name}/" in s]) == 1
    assert len([t for t in inventory["tables"] if t.startswith(name)]) == 4
    assert len([b for b in inventory["balancers"] if name in b]) == 1
    amis = [
        path
        for path in (small.root / ".fearless" / "amis").glob("ami-*/manifest.json")
        if sha in path.read_text()
    ]
    assert len(amis) == 1
    assert "Nothing to do" in small.doit("release").ok().out


MIDDLE = [
    ("image", 0.4),
    ("stack", 0.2),
    ("copy", 0.3),
    ("copy", 1.0),
    ("copy", 2.0),
    ("sync", 0.2),
    ("sync", 0.9),
    ("gate:targets", 0.5),
]
"""A step, and how many seconds after it began."""


def test_killed_again_and_again_in_the_middle_of_steps(small: Checkout) -> None:
    sha = small.change_app("killed in the middle")
    for step, delay in MIDDLE:
        small.kill_during(BEFORE[step], "release", delay=delay)
    small.doit("release").ok()
    check_released(small, sha)


def test_killed_again_and_again_during_the_cutover_nothing_is_lost(small: Checkout) -> None:
    """Customers go on: what was accepted is there when it is live, whoever accepted it."""
    sha = small.change_app("killed in the middle of the cutover")
    told = small.root.parent / "traffic.json"
    traffic = small.start("fearless", "local", "traffic", "--rate", "10", "--report", str(told))
    try:
        for delay in (0.5, 1.5, 2.5, 3.5):
            small.kill_during(BEFORE["cutover"], "release", delay=delay)
        small.doit("release").ok()
    finally:
        traffic.send_signal(signal.SIGINT)
        out, err = traffic.communicate(timeout=120)
    assert traffic.returncode == 0, out + err
    report = json.loads(told.read_text())
    assert report["writes"] > 20
    assert (report["failed"], report["lost"]) == (0, 0)
    check_released(small, sha)


@pytest.mark.parametrize("moment", ["paused", "denied"])
def test_killed_with_writes_paused(small: Checkout, moment: str) -> None:
    """The moment that matters most: the old stack is fenced, the new one not yet open."""
    sha = small.change_app(f"killed when {moment}")
    process = small.start("doit", "release")
    for line in process.stderr:
        if re.search(rf"are {moment}|were {moment}", line):
            break
    process.kill()
    process.communicate()
    small.doit("release").ok()
    assert small.doit("status", "json=1").ok().json["live"]["sha"] == sha


def test_terminated_politely_and_refused_while_another_is_at_it(small: Checkout) -> None:
    sha = small.change_app("terminated")
    process = small.start("doit", "release")
    for line in process.stdout:
        if line.strip().startswith("ami"):
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out + err
    assert "run the same command again" in out
    assert small.doit("status", "json=1").ok().json["lock"] is None
    first = small.start("doit", "release")
    for line in first.stdout:
        if line.strip().startswith("copy"):
            break
    try:
        os.kill(first.pid, signal.SIGSTOP)
        second = small.doit("release")
        assert second.code == 1
        assert re.search(
            rf"refused: the operator lock is held by .+ \(pid {first.pid}\) since .+ UTC, "
            r"doing `doit release`",
            second.err,
        )
        lock = small.doit("status", "json=1").ok().json["lock"]
        assert lock["pid"] == first.pid
    finally:
        os.kill(first.pid, signal.SIGCONT)
    out, err = first.communicate(timeout=240)
    assert first.returncode == 0, out + err
    assert small.doit("status", "json=1").ok().json["live"]["sha"] == sha


def test_former_stacks_were_deleted_but_for_the_last(small: Checkout) -> None:
    deadline = time.monotonic() + 30
    status = small.doit("status", "json=1").ok().json
    assert len(status["former"]) == 1
    stacks = [s for s in small.inventory()["stacks"] if ":stack/shop-r-" in s]
    assert len(stacks) == 2
    while len(small.inventory()["instances"]) != 4:
        assert time.monotonic() < deadline
        time.sleep(0.2)


DEV_BEFORE = {
    "image": "shop branch",
    "ami": "devstack:image",
    "stack": "devstack:ami",
    "data": "devstack:stack",
    "deploy": "devstack:data",
}


def test_a_dev_stack_is_made_and_dropped_whatever_was_killed(small: Checkout) -> None:
    before = settled(small)
    live = small.doit("status", "json=1").ok().json["live"]
    small.git("checkout", "-q", "-b", "x")
    make, drop = ("devstack", "branch=x"), ("drop", "branch=x", "yes=1")
    for text, moments in (("one", NEW), ("two", SWAPPED)):
        sha = small.change_app(text)
        for step, delay in moments:
            small.kill_during(DEV_BEFORE[step], *make, delay=delay)
        small.doit(*make).ok()
        status = small.doit("status", "json=1").ok().json
        (entry,) = status["devstacks"]
        assert (entry["branch"], entry["sha"]) == ("x", sha)
        assert still(status["live"]) == still(live)
        inventory = small.inventory()
        assert len([s for s in inventory["stacks"] if "/shop-d-x-" in s]) == 1
        assert len([b for b in inventory["balancers"] if "shop-d-x-" in b]) == 1
        assert json.loads(http.get(f"{entry['url']}/__release")[1])["sha"] == sha
    small.git("checkout", "-q", "main")
    moments = (0.5 * number for number in range(2, 60))
    while small.kill_during("", *drop, delay=next(moments)):
        now = small.doit("status", "json=1").ok().json["live"]
        assert still(now) == still(live)
    small.doit(*drop).ok()
    assert small.doit("status", "json=1").ok().json["devstacks"] == []
    assert settled(small, before) == before


NEW = [
    ("image", 0.4),
    ("stack", 0.0),
    ("stack", 0.2),
    ("data", 0.3),
    ("data", 1.5),
    ("deploy", 0.2),
]
SWAPPED = [("image", 0.4), ("deploy", 0.3), ("deploy", 1.0)]


def settled(checkout: Checkout, wanted: dict[str, list[str]] | None = None) -> dict[str, list[str]]:
    """The inventory, once instances that are being drained are gone."""
    deadline = time.monotonic() + 30
    now = checkout.inventory()
    while now != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
        before, now = now, checkout.inventory()
        if wanted is None and before == now:
            break
    return now
