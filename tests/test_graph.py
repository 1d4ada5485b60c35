"""The task graph's shape, without running anything; and doit's database, which nobody needs."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doit import doit_cmd
from doit.cmd_base import ModuleTaskLoader
from doit.control import TaskControl
from doit.dependency import JSONCodec
from doit.doit_cmd import DoitMain
from doit.loader import load_tasks

from fearless import names
from fearless.cache import Cache
from fearless.command_line import COMMANDS, command_line
from fearless.errors import ConfigError
from fearless.procedure import Done

HERE = Path(__file__).resolve().parent.parent


@pytest.fixture
def dodo(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Our dodo.py, read as doit reads it."""
    monkeypatch.chdir(HERE)
    doit_cmd.reset_vars()
    source = HERE / "dodo.py"
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    import importlib.util

    spec = importlib.util.spec_from_file_location("dodo", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


@pytest.fixture
def tasks(dodo: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = TaskControl(load_tasks(dodo, command_names=COMMANDS)).tasks
    return found


def ordered(tasks: dict[str, Any], name: str) -> list[str]:
    """All a task depends on, in the order doit would run it."""
    seen: list[str] = []

    def visit(task: str) -> None:
        for dependency in (*tasks[task].task_dep, *tasks[task].setup_tasks):
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


@pytest.mark.parametrize(("words", "asked"), [(["sync"], True), (["release"], False)])
def test_only_sync_by_its_name_carries_back(
    dodo: dict[str, Any], words: list[str], asked: bool
) -> None:
    runbook = dodo["runbook"]
    runbook.words = words
    procedure = SimpleNamespace(is_live=True, settled=lambda: Done("live"))
    step = runbook._steps()["sync"](procedure)
    assert step.name == ("sync back" if asked else "sync")
    assert (step.find() is None) is asked


def test_the_plan_has_every_step_and_gate_in_order(dodo: dict[str, Any]) -> None:
    steps = list(dodo["runbook"]._steps_of_release())
    assert steps[:7] == ["tag", "image", "ami", "stack", "copy", "sync", "gate:targets"]
    assert steps[-4:] == ["gate:data", "gate:lag", "cutover", "retire"]


def recorded(tasks: dict[str, Any], done: list[str], broken: str = "") -> dict[str, Any]:
    """A dodo.py of tasks that depend on each other as ours do, and only write their names."""

    def record(name: str) -> Callable[[], bool]:
        def run() -> bool:
            done.append(name)
            return name != broken

        return run

    def tasks_of() -> Iterator[dict[str, Any]]:
        for name, task in tasks.items():
            if not task.has_subtask and ":" not in name:
                yield {
                    "basename": name,
                    "actions": [record(name)],
                    "task_dep": [dep for dep in task.task_dep if ":" not in dep],
                    "setup": task.setup_tasks,
                }
        yield {"basename": "gate", "actions": [record("gate")], "task_dep": ["sync"]}

    return {"task_all": tasks_of, "DOIT_CONFIG": {"dep_file": ":memory:", "backend": "sqlite3"}}


def run(tasks: dict[str, Any], *argv: str, broken: str = "") -> list[str]:
    done: list[str] = []
    DoitMain(ModuleTaskLoader(recorded(tasks, done, broken))).run(list(argv))
    return done


ORDER = "tag image ami stack copy sync gate cutover retire release".split()


@pytest.mark.parametrize("options", [(), ("-n", "3", "-P", "thread")])
def test_doit_runs_retire_after_the_cutover(tasks: dict[str, Any], options: list[str]) -> None:
    assert run(tasks, *options, "release") == ORDER
    assert run(tasks, *options, "release", broken="gate") == ORDER[:7]


def test_retire_by_itself_never_goes_live(tasks: dict[str, Any]) -> None:
    assert ordered(tasks, "retire") == ["retire"]
    assert run(tasks, "retire") == ["retire"]


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


# ------------------------------------------------------------------ the command line


@pytest.mark.parametrize(
    ("argv", "command", "words"),
    [
        ([], "run", []),
        (["release", "sha=abc", "dry=1"], "run", ["release"]),
        (["-f", "dodo.py", "release"], "run", ["release"]),
        (["-n", "2", "-P", "thread", "gate:shop", "status"], "run", ["gate:shop", "status"]),
        (["run", "-v", "2", "release", "json=1"], "run", ["release"]),
        (["list", "--all"], "list", []),
        (["-f", "dodo.py", "help", "cutover"], "help", ["cutover"]),
        (["info", "release"], "info", ["release"]),
        (["--no-such-option", "release"], "run", []),
    ],
)
def test_the_command_line_is_read_as_doit_reads_it(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], command: str, words: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/doit", *argv])
    assert command_line() == (command, words)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest", *argv])
    assert command_line() == ("", [])


class World:
    """A project whose cloud counts how often it was started."""

    def __init__(self, running: bool, there: bool = True) -> None:
        self.started = 0
        self.cloud = SimpleNamespace(running=lambda: running, ensure=self._start)
        self.provisioner = SimpleNamespace(find=lambda _: object() if there else None)
        self.app = SimpleNamespace(name="shop")
        self.ledger = None

    def _start(self, report: Any) -> None:
        self.started += 1

    def check(self) -> None:
        pass

    def named(self, release: Any) -> Any:
        return release


def dropping(dodo: dict[str, Any], world: World, **variables: str) -> Any:
    runbook = dodo["runbook"]
    runbook.project = world
    runbook.variables = {**runbook.variables, **variables}
    runbook.dry, runbook.yes = variables.get("dry") == "1", True
    return runbook


@pytest.mark.parametrize("given", [{}, {"branch": "x", "sha": "abc"}])
def test_drop_needs_one_thing_to_drop(dodo: dict[str, Any], given: dict[str, str]) -> None:
    world = World(running=True)
    with pytest.raises(ConfigError, match=r"`doit drop branch=NAME` .* `doit drop sha=SHA`"):
        dropping(dodo, world, **given).verbs.drop()
    assert not world.started


@pytest.mark.parametrize(
    ("running", "there", "said"),
    [(True, True, "would delete shop-d-x-"), (True, False, "no stack"), (False, True, "nothing")],
)
def test_a_dry_drop_starts_nothing(
    dodo: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    running: bool,
    there: bool,
    said: str,
) -> None:
    world = World(running, there)
    dropping(dodo, world, branch="x", dry="1").verbs.drop()
    assert said in capsys.readouterr().out
    assert not world.started


@pytest.mark.parametrize(
    ("given", "module", "kind"),
    [({"branch": "x"}, "devstack", "dev"), ({"sha": "HEAD"}, "candidate", "release")],
)
def test_drop_is_for_a_branch_or_a_candidate(
    dodo: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, str],
    module: str,
    kind: str,
) -> None:
    dropped: list[Any] = []

    def drop(procedure: Any) -> Done:
        dropped.append(procedure.release)
        return Done("it is gone", {"dropped": "it"})

    monkeypatch.setattr(f"fearless.{module}.drop", drop)
    runbook = dropping(dodo, World(running=True), **given)
    runbook.__dict__["procedure"] = SimpleNamespace(
        release=names.release("shop", "a" * 40, "20260101")
    )
    runbook.verbs.drop()
    assert [release.kind for release in dropped] == [kind]
    assert "it is gone" in capsys.readouterr().out
