"""Every hook does what its docstring promises; a hook without a test fails here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fearless import hookspecs, names
from fearless.errors import ConfigError
from fearless.plugins import SLOTS, Plugins
from fearless.procedure import Procedure
from fearless.project import Project, transforms
from fearless.steps.gate import gate_names
from fearless.steps.stack import ReleaseStack
from fearless.testing import contracts
from fearless.testing.fakes import FakeCloud, SilentReport

TOML = '[app]\nname = "shop"\n[tables.orders]\nhash = "id"\n'
RELEASE = names.release("shop", "4f2a9c1" + "0" * 33, "20261123")
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "fearless_spec")]
ELSEWHERE = {"tasks": ("e2e/test_command_line.py", "test_tasks_of_plugins_are_tasks")}
"""Hooks that only a run of doit can show."""


def project(tmp_path: Path, *bodies: str, toml: str = TOML) -> Project:
    """A project whose plugins `a.py`, `b.py` and so on are these hooks."""
    (tmp_path / "release.toml").write_text(toml)
    (tmp_path / "plugins").mkdir(exist_ok=True)
    for letter, body in zip("abc", bodies, strict=False):
        text = f"from fearless import Gate, Transform, hookimpl\n\n\n@hookimpl\n{body}\n"
        (tmp_path / "plugins" / f"{letter}.py").write_text(text)
    return Project(tmp_path)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test(hook: str) -> None:
    if hook in {slot_hook for slot_hook, _ in SLOTS.values()}:
        return  # test_a_provider_is_chosen_by_name
    file, name = ELSEWHERE.get(hook, ("test_hooks.py", f"test_{hook}"))
    assert f"def {name}(" in (Path(__file__).parent / file).read_text(), f"no test of {hook}"


@pytest.mark.parametrize("slot", SLOTS)
def test_a_provider_is_chosen_by_name(slot: str) -> None:
    hook, protocol = SLOTS[slot]
    methods = [name for name in vars(protocol) if name[0] != "_"]
    Mine = type("Mine", (), {name: lambda self: None for name in methods})
    plugin = SimpleNamespace(__name__="mine")
    setattr(plugin, hook, hookspecs.hookimpl(lambda: {"mine": Mine}))
    plugins = Plugins(None, [plugin])
    assert plugins.choose(slot, "mine", "release.toml:1") is Mine
    for name in methods:
        method = getattr(Mine, name)
        delattr(Mine, name)
        with pytest.raises(ConfigError, match=f"release.toml:1: .* it lacks {name}$"):
            plugins.choose(slot, "mine", "release.toml:1")
        setattr(Mine, name, method)


@pytest.mark.parametrize("slot", SLOTS)
def test_every_slot_has_a_contract_suite(slot: str) -> None:
    suite = f"{SLOTS[slot][1].__name__}Contract"
    assert suite in contracts.__all__
    assert hasattr(contracts, suite)


def test_transforms(tmp_path: Path) -> None:
    body = "def transforms(release):\n    return [Transform('{}', ('orders',), dict)]"
    made = project(tmp_path, body.format("first"), body.format("second"))
    assert [t.name for t in transforms(made, RELEASE)] == ["first", "second"]


def test_gates(tmp_path: Path) -> None:
    made = project(tmp_path, "def gates(release):\n    return [Gate(release.short, print)]")
    assert "4f2a9c1" in gate_names(made, RELEASE)


def variables(made: Project) -> dict[str, Any]:
    made.using(cloud=FakeCloud({"dynamodb": None}))
    return ReleaseStack(Procedure(made, RELEASE, SilentReport(), "doit stack"))._variables()


def test_template_vars(tmp_path: Path) -> None:
    body = "def template_vars(release):\n    return {{'{}': release.short}}"
    found = variables(project(tmp_path, body.format("one"), body.format("two")))
    assert (found["one"], found["two"], found["app"].name) == ("4f2a9c1", "4f2a9c1", "shop")
    for taken, by in (("one", "plugins/a.py"), ("tables", "Fearless")):
        with pytest.raises(ConfigError, match=f"'{taken}' is already given by {by}"):
            variables(project(tmp_path, body.format("one"), body.format(taken)))


def test_notify(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    made = project(tmp_path, f"def notify(event):\n    open({str(heard)!r}, 'w').write(event.kind)")
    made.using(cloud=FakeCloud({"dynamodb": None}))
    Procedure(made, RELEASE, SilentReport(), "doit release").announce("live", "shop is live")
    assert heard.read_text() == "live"


def test_stack_name(tmp_path: Path) -> None:
    body = "def stack_name(release):\n    return {}"
    named = project(tmp_path, body.format("f'team-{release.short}'")).named(RELEASE)
    assert (named.stack_name, named.sha) == ("team-4f2a9c1", RELEASE.sha)
    assert project(tmp_path, body.format("None")).named(RELEASE) == RELEASE
    for wrong in ("'Team'", "'x' * 60", "'a_b'"):
        with pytest.raises(ConfigError, match=r"plugins/a.py: .* is not a stack name"):
            project(tmp_path, body.format(wrong)).named(RELEASE)
