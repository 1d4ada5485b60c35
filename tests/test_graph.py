"""The task graph's shape, without running anything; and doit's database, which nobody needs."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from doit import doit_cmd
from doit.control import TaskControl
from doit.dependency import JSONCodec
from doit.loader import load_tasks

from fearless.graph import COMMANDS, Cache

HERE = Path(__file__).resolve().parent.parent


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(HERE)
    doit_cmd.reset_vars()
    namespace: dict[str, Any] = {}
    source = HERE / "dodo.py"
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    import importlib.util

    spec = importlib.util.spec_from_file_location("dodo", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    namespace = vars(module)
    found: dict[str, Any] = TaskControl(load_tasks(namespace, command_names=COMMANDS)).tasks
    return found


def ordered(tasks: dict[str, Any], name: str) -> list[str]:
    """All a task depends on, in the order doit would run it."""
    seen: list[str] = []

    def visit(task: str) -> None:
        for dependency in tasks[task].task_dep:
            visit(dependency)
        if task not in seen:
            seen.append(task)

    visit(name)
    return seen


def test_the_release_is_the_decks_procedure(tasks: dict[str, Any]) -> None:
    order = ordered(tasks, "release")
    assert order[:6] == ["tag", "image", "ami", "stack", "copy", "sync"]
    assert order[6:8] == ["gate:targets", "gate:release"]
    assert order[-4:] == ["gate", "cutover", "retire", "release"]
    gates = [name for name in order if name.startswith("gate:")]
    assert {"gate:shop", "gate:smoke"} < set(gates)
    assert gates[-2:] == ["gate:data", "gate:lag"]


def test_a_dev_stack_touches_neither_gates_nor_dns(tasks: dict[str, Any]) -> None:
    order = ordered(tasks, "devstack")
    assert order == [f"devstack:{n}" for n in ("image", "ami", "stack", "data", "deploy")] + [
        "devstack"
    ]


def test_only_steps_are_ever_up_to_date(tasks: dict[str, Any]) -> None:
    for name in ("status", "releases", "drop", "release"):
        assert not tasks[name].uptodate


def test_every_task_says_what_it_does(tasks: dict[str, Any]) -> None:
    for name, task in tasks.items():
        assert task.doc, name


def test_the_runbook_reads_as_one() -> None:
    text = (HERE / "dodo.py").read_text()
    assert "import boto3" not in text
    assert " if " not in text


def test_a_spoilt_database_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "doit.db"
    path.write_text('{"half": ')
    cache = Cache(str(path), JSONCodec())
    assert not cache.in_("half")
    cache.set("task", "key", "value")
    cache.dump()
    assert Cache(str(path), JSONCodec()).get("task", "key") == "value"
    assert [p.name for p in tmp_path.iterdir()] == ["doit.db"]
    shutil.rmtree(tmp_path)
