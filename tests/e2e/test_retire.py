"""The old stack is deleted right after the cutover, under traffic: nobody notices."""

from __future__ import annotations

import json
import re
import signal
import time

import pytest

from .checkout import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_the_old_stack_is_deleted_under_traffic(small: Checkout) -> None:
    small.edit("release.toml", "keep = 1", "keep = 0")
    sha = small.commit("Keep no old stack")
    small.run("fearless", "local", "up").ok()
    old = small.doit("status", "json=1").ok().json["live"]
    report = small.root.parent / "traffic.json"
    traffic = small.start("fearless", "local", "traffic", "--rate", "20", "--report", str(report))
    try:
        for line in traffic.stdout:
            if re.search(r"\d+ requests", line):
                break
        run = small.doit("release").ok()
        time.sleep(2)  # customers after the old stack is gone
    finally:
        traffic.send_signal(signal.SIGINT)
        out, err = traffic.communicate(timeout=120)
    assert traffic.returncode == 0, out + err
    told = json.loads(report.read_text())
    assert (told["failed"], told["lost"]) == (0, 0)
    assert told["requests"] > 200
    assert f"deleted {old['stack']}; no old stack left" in run.out
    status = small.doit("status", "json=1").ok().json
    assert status["live"]["sha"] == sha
    assert status["live"]["writable"]
    assert status["former"] == []
    assert not [stack for stack in small.inventory()["stacks"] if old["stack"] in stack]
    history = small.doit("releases", "json=1").ok().json
    assert [entry["state"] for entry in history] == ["deleted", "live"]
    assert "Nothing to do" in small.doit("release").ok().out
