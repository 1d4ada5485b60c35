"""SIGKILL during any step, then the same command: it completes, and nothing is made twice."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest

from .checkout import Checkout

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


@pytest.mark.parametrize("step", list(BEFORE))
def test_killed_during(small: Checkout, step: str) -> None:
    sha = small.change_app(f"killed during {step}")
    small.kill_during(BEFORE[step], "release")
    small.doit("release").ok()
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


def test_terminated_politely_it_says_how_to_go_on(small: Checkout) -> None:
    sha = small.change_app("terminated")
    process = small.start("doit", "release")
    for line in process.stdout:
        if line.strip().startswith("stack"):
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out + err
    assert "run the same command again" in out
    assert small.doit("status", "json=1").ok().json["lock"] is None
    small.doit("release").ok()
    assert small.doit("status", "json=1").ok().json["live"]["sha"] == sha


def test_a_second_operator_is_refused_with_the_holders_name(small: Checkout) -> None:
    small.change_app("two operators")
    first = small.start("doit", "release")
    for line in first.stdout:
        if line.strip().startswith("ami"):
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


def test_former_stacks_were_deleted_but_for_the_last(small: Checkout) -> None:
    deadline = time.monotonic() + 30
    status = small.doit("status", "json=1").ok().json
    assert len(status["former"]) == 1
    stacks = [s for s in small.inventory()["stacks"] if ":stack/shop-r-" in s]
    assert len(stacks) == 2
    while len(small.inventory()["instances"]) != 4:
        assert time.monotonic() < deadline
        time.sleep(0.2)
