"""`fearless local ...` from the command line, against a real daemon where one is needed."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fearless.errors import ConfigError, Refused
from fearless.local import commands
from fearless.local.cloud import LocalCloud
from tests.local.cloud_kit import project

STATUS = {
    "pid": 7,
    "started": "2026-11-23T06:00:00+00:00",
    "emulator": "http://127.0.0.1:21000",
    "public": {"name": "shop.test", "url": "http://localhost:8080", "target": None, "problem": "?"},
    "balancers": [
        {
            "name": "lb",
            "dns": "lb.elb.localhost",
            "url": "http://lb.elb.localhost:21001",
            "problem": "",
            "targets": [{"id": "i-1", "port": 5, "state": "initial", "description": "refused"}],
        }
    ],
    "groups": [
        {
            "name": "g",
            "desired": 2,
            "failures": 3,
            "problem": "i-0: ended with exit code 1",
            "at": "2026-11-23T06:01:00+00:00",
            "log": ["no database"],
        }
    ],
    "instances": [
        {
            "id": "i-1",
            "group": "g",
            "state": "running",
            "healthy": False,
            "pid": 9,
            "mode": "process",
            "reason": "refused",
        }
    ],
}


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands.add_parser(parser.add_subparsers())
    return parser.parse_args(["local", *words])


def fake(root: Path) -> Any:
    made = project(root)
    made.cloud = LocalCloud(made, port=18380)
    return made


def test_status_for_people() -> None:
    assert list(commands.describe(STATUS)) == [
        "daemon     pid 7, since 2026-11-23T06:00:00+00:00",
        "emulator   http://127.0.0.1:21000",
        "app        http://localhost:8080 -> shop.test -> nothing",
        "           ?",
        "balancer   lb  http://lb.elb.localhost:21001",
        "  target   i-1  port 5  initial  refused",
        "group      g  1 of 2 running",
        "  instance i-1  running  pid 9  process  refused",
        "  last     2026-11-23T06:01:00+00:00 i-0: ended with exit code 1",
        "           failed 3 times in a row; what it said last:",
        "           | no database",
    ]


def test_without_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = fake(tmp_path)
    assert commands.run(parse("status"), made) == 0
    assert "fearless local up" in capsys.readouterr().out
    assert commands.run(parse("status", "--json"), made) == 0
    assert json.loads(capsys.readouterr().out) == {"running": False}
    assert commands.run(parse("stop"), made) == 0
    assert "does not run" in capsys.readouterr().out


def test_reset_wants_to_be_sure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake(tmp_path)
    made.cloud.directory.prepare()
    table = made.cloud.directory.emulator / "dynamodb.json"
    table.write_text("{}")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(Refused, match="add --yes") as refusal:
        commands.run(parse("reset"), made)
    assert refusal.value.exit_code == 3

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    with pytest.raises(Refused, match="nothing was deleted"):
        commands.run(parse("reset"), made)
    assert table.exists()
    monkeypatch.setattr("sys.stdin", Terminal("reset\n"))
    assert commands.run(parse("reset"), made) == 0
    assert not table.exists()
    table.parent.mkdir()
    assert commands.run(parse("reset", "--yes"), made) == 0
    assert not table.parent.exists()


def test_another_cloud_is_not_ours() -> None:
    config = SimpleNamespace(cloud=SimpleNamespace(use="aws"))
    made: Any = SimpleNamespace(cloud=object(), config=config)
    with pytest.raises(ConfigError, match=r'\[cloud\] use = "aws": `fearless local` is for'):
        commands.run(parse("up"), made)


@pytest.mark.slow
def test_up_status_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = fake(tmp_path)
    try:
        assert commands.run(parse("up"), made) == 0
        assert "The app: http://localhost:" in capsys.readouterr().out
        assert commands.run(parse("status", "--json"), made) == 0
        status = json.loads(capsys.readouterr().out)
        assert status["running"] and status["public"]["name"] == made.domain
        assert commands.run(parse("stop"), made) == 0
        assert "everything is saved" in capsys.readouterr().out
    finally:
        made.cloud.stop()
