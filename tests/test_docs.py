"""The documentation cannot drift: hooks, providers, settings, commands, links and code are real."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

import fearless
from fearless import config, hookspecs, interfaces
from fearless.dockerfile_lint import Rule
from fearless.plugins import BUILT_IN, SLOTS, Plugins
from fearless.project import DEFAULTS
from tests.commands import FENCE, ROOT, blocks, commands, problem

DOCS = ROOT / "docs"
PAGES = {path.name: path for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))}
TEXTS = {name: path.read_text() for name, path in PAGES.items()}
PLUGINS = TEXTS["plugins.md"]
REFERENCE = TEXTS["release-toml.md"]
HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if hasattr(function, "fearless_spec")
}
TYPES = {
    "str": "string",
    "str | None": "string",
    "int": "integer",
    "int | None": "integer",
    "float": "number",
    "float | None": "number",
    "bool": "true or false",
    "list[str] | None": "list of strings",
    "dict[str, str] | None": "table of strings",
    "dict[str, str | int]": "table of strings and integers",
    "Literal['S', 'N', 'B']": '"S", "N" or "B"',
    "Literal['warn', 'error', 'off']": '"warn", "error" or "off"',
    str(list[Rule]).replace("typing.", ""): "list of strings",
    "Literal['awslogs', 'journald']": '"awslogs" or "journald"',
}
Row = tuple[str, str]


def sections(text: str, level: int) -> dict[str, str]:
    """Heading -> what is below it, up to the next heading of that level or a higher one."""
    parts = re.split(rf"^#{{1,{level}}} (.+)$", FENCE.sub("", text), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def built_in(slot: str) -> dict[str, type]:
    offers = Plugins(None).offers(slot)
    origins = {f"built-in {name}" for name in BUILT_IN}
    return {name: offer.provider for name, offer in offers.items() if offer.origin in origins}


PROVIDERS = [(slot, name) for slot in SLOTS for name in built_in(slot)]


# ------------------------------------------------------------------ plugins.md


def test_every_hook_is_documented_with_its_arguments() -> None:
    documented = re.findall(r"^### (\w+)\((.*)\)$", PLUGINS, re.M)
    assert len(documented) == len(dict(documented)), "a hook is documented twice"
    assert dict(documented) == {
        name: ", ".join(inspect.signature(function).parameters) for name, function in HOOKS.items()
    }


@pytest.mark.parametrize("slot", SLOTS)
def test_every_built_in_provider_is_named_at_its_hook(slot: str) -> None:
    hook, _ = SLOTS[slot]
    text = sections(PLUGINS, 3)[f"{hook}()"]
    assert f"`[{slot}] use`" in text
    named = re.search(r"Built in:((?:\s|.)*?)\.(?:\s|$)", text)
    assert named, "it says what is built in"
    assert set(re.findall(r"`([a-z0-9]+)`", re.sub(r"\([^)]*\)", "", named[1]))) == set(
        built_in(slot)
    )


def test_the_whole_plugin_loads(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "file.py").write_text(blocks(PLUGINS, "python")[0])
    plugins = Plugins(tmp_path)
    provider = plugins.choose("secrets", "file", "release.toml:1")
    table = tomllib.loads(blocks(PLUGINS, "toml")[0])["secrets"]
    assert table.pop("use") == "file"
    release = tmp_path / "release.toml"
    release.write_text('[app]\nname = "shop"\n')
    given = config.arguments(provider, table, "secrets", config.read(release))
    assert given == {"folder": "/run/secrets"}


@pytest.mark.parametrize("slot", SLOTS)
def test_the_methods_and_the_suite_of_every_slot_are_documented(slot: str) -> None:
    hook, protocol = SLOTS[slot]
    text = " ".join(sections(PLUGINS, 3)[f"{hook}()"].split())
    named = re.search(r"Methods of `(\w+)`: (.*?)\. Suite: `(\w+)`\.", text)
    assert named, "it says which methods a provider has, and which suite tests them"
    assert (named[1], named[3]) == (protocol.__name__, f"{protocol.__name__}Contract")
    assert re.findall(r"`(\w+\([\w, ]*\))`", named[2]) == [
        f"{name}({', '.join([*inspect.signature(method).parameters][1:])})"
        for name, method in vars(protocol).items()
        if name[0] != "_" and callable(method)
    ]


def test_what_a_provider_may_offer_besides_is_documented() -> None:
    protocols = {
        name
        for name, value in vars(interfaces).items()
        if getattr(value, "_is_runtime_protocol", False)
    }
    besides = protocols - {protocol.__name__ for _, protocol in SLOTS.values()}
    assert {"Journal", "RemoteRegistry"} <= besides
    slots = PLUGINS.split("## Slots: ")[1]
    assert besides <= set(re.findall(r"`(\w+)`", slots))


def imported(code: str) -> set[str]:
    """The modules of Fearless that some Python imports."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return {str(node.module) for node in nodes if re.match(r"fearless(\.|$)", str(node.module))}


def test_plugins_import_what_they_may() -> None:
    """Ours, the example's and those of the documentation; `fearless.x` allows `fearless.x.y`."""
    allowed = re.findall(r"^\| `(fearless[\w.]*)` \|", PLUGINS, re.M)
    files = [*(ROOT / "plugins").glob("*.py"), *(ROOT / "examples").glob("*/*/**/*.py")]
    shown = [code for page in TEXTS.values() for code in blocks(page, "python")]
    modules = set().union(*map(imported, [*(path.read_text() for path in files), *shown]))
    assert {"fearless", "fearless.oci", "fearless.testing.contracts"} <= modules
    for module in modules:
        assert any(
            module == name or (name != "fearless" and module.startswith(f"{name}."))
            for name in allowed
        ), f"{module} is not in the table of docs/plugins.md"


def test_every_public_name_is_documented() -> None:
    row = next(line for line in PLUGINS.splitlines() if line.startswith("| `fearless` |"))
    assert set(re.findall(r"`(\w+)`", row)) == {"fearless", *fearless.__all__}


# ------------------------------------------------------------------ release-toml.md


def rows(text: str) -> dict[str, Row]:
    """`| `key` | type | default | meaning |` -> key: (type, default)."""
    found = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+?) \| (.+) \|$", text, re.M)
    assert len(found) == len({key for key, *_ in found}), "a key is documented twice"
    return {key: (kind, default) for key, kind, default, _ in found}


def shown(annotation: Any, default: Any, required: bool) -> Row:
    """How the reference writes a type and a default."""
    kind = annotation if isinstance(annotation, str) else _written(annotation)
    if required:
        return TYPES[kind], "required"
    if default is None or default in ("", {}, []):
        return TYPES[kind], "none"
    written = str(default).lower() if isinstance(default, bool) else default
    number = int(written) if isinstance(written, float) and written.is_integer() else written
    return TYPES[kind], f'`"{number}"`' if isinstance(number, str) and not isinstance(
        default, bool
    ) else f"`{number}`"


def _written(annotation: Any) -> str:
    text = getattr(annotation, "__name__", "") if isinstance(annotation, type) else ""
    return text if text in TYPES else str(annotation).replace("typing.", "")


def model_rows(model: type[BaseModel]) -> dict[str, Row]:
    return {
        name: shown(field.annotation, field.default, field.is_required())
        for name, field in model.model_fields.items()
    }


def tables() -> dict[str, type[BaseModel]]:
    """Every table of release.toml that is not a slot's, as the reference heads it."""
    found: dict[str, type[BaseModel]] = {"[tables.<name>]": config.Key}
    for name, field in config.Config.model_fields.items():
        if name not in SLOTS and name != "tables":
            free = get_origin(field.annotation) is dict  # keys of the user's own choice
            model = BaseModel if free else field.annotation
            assert isinstance(model, type)
            found[f"[{name}]"] = model
    return found


@pytest.mark.parametrize("heading", tables())
def test_every_key_is_documented(heading: str) -> None:
    text = sections(REFERENCE, 2)[f"`{heading}`"]
    assert rows(text) == model_rows(tables()[heading])


def test_no_table_is_invented() -> None:
    headings = {h.strip("`") for h in sections(REFERENCE, 2) if h.startswith("`[")}
    assert headings == {*tables(), *(f"[{slot}]" for slot in SLOTS)}


def signature_rows(provider: type) -> dict[str, Row]:
    return {
        name: shown(parameter.annotation, parameter.default, parameter.default is parameter.empty)
        for name, parameter in inspect.signature(provider).parameters.items()
        if name not in config.GIVEN
    }


@pytest.mark.parametrize(("slot", "name"), PROVIDERS)
def test_every_setting_of_a_built_in_provider_is_documented(slot: str, name: str) -> None:
    parts = sections(sections_with_fences(slot), 3)
    text = parts[f'`use = "{name}"`']
    expected = signature_rows(built_in(slot)[name])
    assert rows(text) == expected
    assert expected or "No settings." in text


def sections_with_fences(slot: str) -> str:
    text = sections(REFERENCE, 2)[f"`[{slot}]`"]
    names = set(re.findall(r"^### `use = \"(\w+)\"`$", text, re.M))
    assert names == set(built_in(slot)), "a provider that does not exist is documented"
    return text


def test_a_slot_has_no_key_of_its_own_but_use() -> None:
    assert set(config.Slot.model_fields) == {"use"}
    own = sections(REFERENCE, 2)["`[container]`"].partition("\n### ")[0]
    assert {"use", *rows(own)} == set(config.ContainerSlot.model_fields)
    assert rows(own).items() <= model_rows(config.ContainerSlot).items()
    assert set(config.StackSlot.model_fields) == {"use", "parameters"}
    assert "`[stack.parameters]`" in sections(REFERENCE, 2)["`[stack]`"]


def test_the_defaults_of_slots_are_documented() -> None:
    text = sections(REFERENCE, 2)["Slots"]
    found = {
        slot: {"local": local, "aws": aws}
        for slot, local, aws in re.findall(
            r"^\| `\[(\w+)\]` \| `(\w+)` \| `(\w+)`.* \|$", text, re.M
        )
    }
    assert found == {
        slot: {cloud: DEFAULTS[cloud][slot] for cloud in ("local", "aws")}
        for slot in SLOTS
        if slot != "cloud"
    }
    missing = [f"`{name}`" for slot, name in DEFAULTS["aws"].items() if name not in built_in(slot)]
    for name in missing:
        assert f"{name} (not built in yet)" in text
    assert text.count("(not built in yet)") == len(missing)


def test_every_rule_of_the_linter_is_documented() -> None:
    found = re.findall(r"^\| `([a-z-]+)` \| (warning|info) \|", TEXTS["containers.md"], re.M)
    assert sorted(rule for rule, _ in found) == sorted(get_args(Rule))


# ------------------------------------------------------------------ every page


@pytest.mark.parametrize("page", PAGES)
def test_python_is_python(page: str) -> None:
    for number, code in enumerate(blocks(TEXTS[page], "python", "py"), 1):
        compile(code, f"{page}, block {number}", "exec")


PLUGIN_BLOCKS = [
    pytest.param(code, id=f"{page}-{number}")
    for page, text in TEXTS.items()
    for number, code in enumerate(blocks(text, "python"))
    if "@hookimpl" in code
]


@pytest.mark.parametrize("code", PLUGIN_BLOCKS)
def test_every_plugin_shown_loads_and_answers(code: str, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "shown.py").write_text(code)
    plugins = Plugins(tmp_path)
    for slot in SLOTS:
        plugins.offers(slot)
    for hook in ("gates", "transforms", "template_vars"):
        answers = plugins.ask(hook, release=None)
        assert all(answer for answer, _ in answers)


@pytest.mark.parametrize("page", PAGES)
def test_toml_is_a_release_toml_or_a_pyproject(page: str) -> None:
    for text in blocks(TEXTS[page], "toml"):
        data: Mapping[str, Any] = tomllib.loads(text)
        if "project" in data:
            continue
        config.Config.model_validate({"app": {"name": "shop"}, **data})
        for slot in SLOTS:
            settings = dict(data.get(slot, {}))
            provider = built_in(slot).get(settings.pop("use", ""))
            if provider:
                settings.pop("parameters", None)
                assert set(settings) <= set(signature_rows(provider)), f"{page}: [{slot}]"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = FENCE.sub("", TEXTS[page])
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (PAGES[page].parent / path).resolve() if path else PAGES[page]
        assert target.exists(), f"{page} links to {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", target.read_text()), re.M)
            assert anchor in [_anchor(heading) for heading in headings], f"{page} links to {link}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_index_lists_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", TEXTS["index.md"]))
    assert linked == set(PAGES) - {"README.md", "index.md"}


# ------------------------------------------------------------------ commands


def gates_shown(text: str) -> list[str]:
    """The gates that examples of the page define."""
    return re.findall(r'\bGate\("([\w-]+)"', text)


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    gates = gates_shown(TEXTS[page])
    problems = [f"{words}: {problem(words, gates)}" for words in commands(TEXTS[page])]
    assert [text for text in problems if not text.endswith(": ")] == []


def test_commands_are_found() -> None:
    assert ["doit", "release"] in commands(TEXTS["README.md"])
    page = (
        "Run `doit devstack branch=x`.\n```sh\n$ A=1 .venv/bin/doit status && fearless init .\n```"
    )
    assert list(commands(page)) == [
        ["doit", "status"],
        ["fearless", "init", "."],
        ["doit", "devstack", "branch=x"],
    ]


@pytest.mark.parametrize(
    "line",
    [
        "doit relase",
        "doit release shaa=abc",
        "doit release branc=x",
        "doit gate:dta",
        "doit devstack:deplo branch=x",
        "doit list --al",
        "doit ignore gate:smok",
        "doit help relese",
        "fearless lokal up",
        "fearless local upp",
        "fearless local up|stopp",
        "fearless local reset --ye",
        "fearless local traffic --second 20",
        "fearless local traffic --seconds many",
        "fearless init --prot 80",
        "fearless initt",
    ],
)
def test_a_mistyped_command_fails(line: str) -> None:
    (words,) = commands(f"```sh\n{line}\n```")
    assert problem(words)


@pytest.mark.parametrize(
    "line",
    [
        "doit",
        "doit list --all -s",
        "doit release sha=abc1234 dry=1",
        "doit gate:smoke",
        "doit ignore gate:smoke",
        "doit help run",
        "doit help cutover",
        "doit tag image ami",
        "fearless --version",
        "fearless local",
        "fearless local up|stop|status|reset|traffic",
        "fearless init [--name NAME]",
        "fearless local traffic --seconds 20 --report traffic.json",
    ],
)
def test_a_right_command_passes(line: str) -> None:
    (words,) = commands(f"```sh\n{line}\n```")
    assert problem(words) == ""
