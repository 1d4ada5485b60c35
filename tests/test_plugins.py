"""The one loader: a team's plugin and an installed one are the same code under the same checks."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fearless import hookspecs, names
from fearless.errors import ConfigError
from fearless.hookspecs import hookimpl
from fearless.plugins import SLOTS, Plugins

QUAY = """
from fearless import Image, Release, hookimpl

class Quay:
    def __init__(self, organisation: str): self.organisation = organisation
    def find(self, release): return None
    def push(self, image): return image
    def pull(self, image, into): return into
    def list(self): return []
    def delete(self, image): return None

@hookimpl
def registries():
    return {"quay": Quay}
"""


def team(tmp_path: Path, **files: str) -> Plugins:
    folder = tmp_path / "plugins"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return Plugins(tmp_path)


def problem(tmp_path: Path, **files: str) -> str:
    with pytest.raises(ConfigError) as caught:
        plugins = team(tmp_path, **files)
        for slot in SLOTS:
            plugins.offers(slot)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_team_plugin_offers_a_registry_and_changes_nothing_by_being_there(
    tmp_path: Path,
) -> None:
    plugins = team(tmp_path, quay=QUAY)
    assert set(plugins.offers("registry")) == {"ecr", "local", "oci", "quay"}
    assert plugins.choose("registry", "quay", "release.toml:1").__name__ == "Quay"


def test_an_installed_distribution_is_loaded_by_the_same_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "fearless_quay-1.0.dist-info").mkdir(parents=True)
    (site / "fearless_quay.py").write_text(QUAY)
    info = site / "fearless_quay-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fearless-quay\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fearless]\nquay = fearless_quay\n")
    monkeypatch.syspath_prepend(str(site))
    plugins = Plugins(tmp_path)
    assert plugins.offers("registry")["quay"].origin == "installed plugin 'quay' (fearless-quay)"
    (site / "fearless_quay.py").write_text("import nothing_of_that_name\n")
    sys.modules.pop("fearless_quay")
    with pytest.raises(ConfigError, match=r"'quay' \(fearless-quay\) cannot be imported: Module"):
        Plugins(tmp_path)


def test_unknown_provider_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        team(tmp_path, quay=QUAY).choose("registry", "quai", "release.toml:7")
    assert str(caught.value) == (
        "error: release.toml:7: [registry] use = 'quai': no plugin offers it "
        "(did you mean 'quay'?) (have: ecr, local, oci, quay)"
    )


def test_a_misspelt_hook_names_plugin_and_the_right_one(tmp_path: Path) -> None:
    message = problem(tmp_path, q=QUAY.replace("registries()", "registrys()"))
    assert "plugins/q.py: there is no hook 'registrys' (did you mean 'registries'?)" in message


def test_a_wrong_argument_is_refused(tmp_path: Path) -> None:
    text = "from fearless import hookimpl\n@hookimpl\ndef gates(relese):\n    return []\n"
    assert "plugins/q.py" in problem(tmp_path, q=text)
    assert "relese" in problem(tmp_path, q=text)


def test_a_name_offered_twice_names_both(tmp_path: Path) -> None:
    message = problem(tmp_path, a=QUAY, b=QUAY)
    assert "[registry] 'quay' is offered twice: by plugins/" in message
    assert "a.py" in message
    assert "b.py" in message


def test_a_plugin_that_cannot_be_imported_names_file_and_line(tmp_path: Path) -> None:
    message = problem(tmp_path, q="x = 1\nimport nothing_of_that_name\n")
    assert "plugins/q.py cannot be imported: ModuleNotFoundError" in message
    assert "q.py:2)" in message
    assert "q.py:1)" in problem(tmp_path, q="def broken(:\n")


def test_a_provider_that_lacks_a_method_is_refused(tmp_path: Path) -> None:
    plugins = team(tmp_path, q=QUAY.replace("def pull", "def fetch"))
    with pytest.raises(ConfigError, match="is not a Registry: it lacks pull"):
        plugins.choose("registry", "quay", "release.toml:7")


def test_a_hook_that_raises_is_named(tmp_path: Path) -> None:
    text = "from fearless import hookimpl\n@hookimpl\ndef gates(release):\n    return 1 / 0\n"
    plugins = team(tmp_path, q=text)
    release = names.release("shop", "a" * 40, "20260101")
    with pytest.raises(ConfigError, match=r"plugins/q.py: gates\(\) failed: ZeroDivisionError"):
        plugins.ask("gates", release=release)


def test_notify_errors_are_reported_and_everybody_is_told(tmp_path: Path) -> None:
    heard: list[Any] = []

    class Good:
        @hookimpl
        def notify(self, event: Any) -> None:
            heard.append(event)

    class Bad:
        @hookimpl
        def notify(self, event: Any) -> None:
            raise RuntimeError("no network")

    plugins = Plugins(None, [Good(), Bad()])
    problems = plugins.tell("notify", event=SimpleNamespace(kind="live"))
    assert len(heard) == 1
    assert len(problems) == 1
    assert "no network" in problems[0]


def test_every_slot_has_a_hook_and_every_hook_a_docstring() -> None:
    hooks = {
        name: value for name, value in vars(hookspecs).items() if hasattr(value, "fearless_spec")
    }
    assert {hook for hook, _ in SLOTS.values()} <= set(hooks)
    for name, hook in hooks.items():
        assert hook.__doc__, name


def answer(tmp_path: Path, hook: str, body: str) -> Any:
    text = f"from fearless import Gate, Transform, hookimpl\n@hookimpl\ndef {hook}(release):\n"
    plugins = team(tmp_path, q=text + f"    {body}\n")
    return plugins.ask(hook, release=None, project=None)


@pytest.mark.parametrize(
    ("hook", "body", "said"),
    [
        ("gates", "return Gate('a', print)", "must return a list of Gate, not Gate("),
        ("gates", "return 'smoke'", "must return a list of Gate, not 'smoke'"),
        ("gates", "return ['smoke']", "must return a list of Gate, not one with 'smoke' in it"),
        ("gates", "return 7", "must return a list of Gate, not 7"),
        ("gates", "yield 1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("gates", "raise SystemExit('enough')", "failed: SystemExit: enough"),
        ("transforms", "return [print]", "must return a list of Transform, not one with <built"),
        ("tasks", "return {'basename': 'x'}", "must return a list of dict, not {'basename': 'x'}"),
        ("tasks", "yield None", "must return a list of dict, not one with None in it"),
        ("template_vars", "return ['a']", "must return a dict, not ['a']"),
        ("template_vars", "return {1: 2}", "must return a dict whose keys are strings, not 1"),
    ],
)
def test_an_answer_of_another_type_is_one_line(
    tmp_path: Path, hook: str, body: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        answer(tmp_path, hook, body)
    assert str(caught.value).startswith(f"error: plugins/q.py: {hook}() {said}")
    assert "\n" not in str(caught.value)


def test_answers_are_there_at_once(tmp_path: Path) -> None:
    ((gates, origin),) = answer(tmp_path, "gates", "yield Gate('a', print)")
    assert [gate.name for gate in gates] == ["a"]
    assert origin == "plugins/q.py"
    ((gates, _),) = answer(tmp_path, "gates", "return (Gate('a', print), Gate('b', print))")
    assert [gate.name for gate in gates] == ["a", "b"]
    assert answer(tmp_path, "gates", "return None") == []


def test_a_provider_table_is_checked_too(tmp_path: Path) -> None:
    text = "from fearless import hookimpl\n@hookimpl\ndef registries():\n    return ['quay']\n"
    assert "registries() must return a dict, not ['quay']" in problem(tmp_path, q=text)
    assert "must return a dict, not None" in problem(tmp_path, q=text.replace("['quay']", "None"))


def test_a_plugin_that_exits_does_not_end_the_run(tmp_path: Path) -> None:
    message = problem(tmp_path, q="import sys\nsys.exit('no licence')\n")
    assert "plugins/q.py cannot be imported: SystemExit: no licence" in message


def test_a_notifier_that_exits_is_reported() -> None:
    class Bad:
        @hookimpl
        def notify(self, event: Any) -> None:
            raise SystemExit(3)

    (said,) = Plugins(None, [Bad()]).tell("notify", event=None)
    assert "notify() failed: SystemExit: 3" in said


# ------------------------------------------------------------------ what a transform is known by

TRANSFORMS = """
import functools
from fearless import Transform

def up(item, by=1):
    return item

def other(item):
    return None

class Adder:
    def __call__(self, item):
        return item

def wrapped(function):
    @functools.wraps(function)
    def inner(item):
        return function(item)
    return inner

ALL = [Transform("t", ("a",), f) for f in
       (up, functools.partial(up, by=2), Adder(), wrapped(up), other, lambda item: item, len)]
"""


def transforms(path: Path, text: str) -> list[Any]:
    path.write_text(text)
    module: dict[str, Any] = {"__name__": "team_transforms"}
    exec(compile(text, str(path), "exec"), module)
    found: list[Any] = module["ALL"]
    return found


def test_whatever_can_be_called_has_a_digest(tmp_path: Path) -> None:
    made = transforms(tmp_path / "t.py", TRANSFORMS)
    again = transforms(tmp_path / "u.py", TRANSFORMS)
    assert [t.digest for t in made] == [t.digest for t in again]
    assert len({t.digest for t in made[:-1]}) == 1, "the file and the name"
    edited = transforms(tmp_path / "t.py", TRANSFORMS.replace("return None", "return []"))
    assert all(a.digest != b.digest for a, b in zip(edited[:-1], again[:-1], strict=True))


def test_a_source_digest_is_of_the_function_alone(tmp_path: Path) -> None:
    up, partial, adder, wrapped, other, _, builtin = transforms(tmp_path / "t.py", TRANSFORMS)
    before = [t.source_digest for t in (up, partial, adder, wrapped, other)]
    assert before[0] == before[1] == before[3]
    assert len(set(before)) == 3
    assert builtin.source_digest == builtin.digest
    text = "# moved\n\n" + TRANSFORMS.replace("return None", "return []")
    after = [t.source_digest for t in transforms(tmp_path / "t.py", text)[:5]]
    assert after[:4] == before[:4]
    assert after[4] != before[4]
