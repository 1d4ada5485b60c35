"""release.toml: every mistake is one line that names file, line, key and what is valid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pydantic
import pytest

from fearless import config
from fearless.errors import ConfigError


def read(tmp_path: Path, text: str) -> config.ConfigFile:
    path = tmp_path / "release.toml"
    path.write_text(text)
    return config.read(path)


def problem(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_this_repository_has_a_valid_one() -> None:
    file = config.read(Path(__file__).parent.parent / "release.toml")
    assert file.config.app.name == "shop"
    assert list(file.config.tables) == ["stores", "products", "orders"]


def test_unknown_key_is_suggested_with_its_line(tmp_path: Path) -> None:
    message = problem(tmp_path, '[app]\nname = "x"\nhelth = "/"\n')
    assert message.startswith("error: release.toml:3: unknown key `app.helth` (did you mean")
    assert "'health'" in message
    assert "valid here: health, name, port, release, source, url" in message


def test_unknown_table_is_suggested(tmp_path: Path) -> None:
    message = problem(tmp_path, '[app]\nname = "x"\n\n[cutovr]\nauto = true\n')
    assert message.startswith("error: release.toml:4: unknown table `cutovr`")
    assert "(did you mean 'cutover'?)" in message


def test_wrong_type_names_value_and_line(tmp_path: Path) -> None:
    message = problem(tmp_path, '[app]\nname = "x"\n[retire]\nkeep = "two"\n')
    assert "release.toml:4: `retire.keep` = 'two'" in message


def test_missing_key_and_missing_file(tmp_path: Path) -> None:
    assert "`app.name` is missing" in problem(tmp_path, "[app]\nport = 1\n")
    with pytest.raises(ConfigError, match="run `fearless init`"):
        config.read(tmp_path / "nowhere.toml")


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "release.toml").mkdir()
    with pytest.raises(ConfigError, match=r"release.toml: cannot be read: Is a directory"):
        config.read(tmp_path / "release.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tables.a]\nhash = ""', "release.toml:4: `tables.a.hash` = ''"),
        ('[tables.a]\nhash = "id"\nrange = ""', "release.toml:5: `tables.a.range` = ''"),
        (
            '[tables.a]\nhash = "id"\nrange = "id"',
            "release.toml:5: `tables.a.range` = 'id' is the hash as well",
        ),
        ('health = "/he alth"', "release.toml:3: `app.health` = '/he alth'"),
        ('health = "/x\\n"', "release.toml:3: `app.health` = '/x\\n'"),
        ('release = "/a\\tb"', "release.toml:3: `app.release` = '/a\\tb'"),
        ('[cutover]\nreplaces = "a b"', "release.toml:4: `cutover.replaces` = 'a b'"),
        (
            '[tables.a]\nhash = "id"\n[dropped]\na = "old"',
            "release.toml:6: `dropped.a`: the table 'a' is also declared as [tables.a]",
        ),
        ('[dropped]\na = " "', "release.toml:4: `dropped.a` is empty; say why"),
        ("[dropped]\na = 1", "release.toml:4: `dropped.a` = 1"),
    ],
)
def test_values_that_cannot_be_meant(tmp_path: Path, text: str, said: str) -> None:
    assert said in problem(tmp_path, f'[app]\nname = "x"\n{text}\n')


def test_dropped_tables_and_what_is_replaced(tmp_path: Path) -> None:
    text = '[app]\nname = "x"\n[cutover]\nreplaces = "old.example.com"\n[dropped]\na = "old"\n'
    found = read(tmp_path, text).config
    assert found.dropped == {"a": "old"}
    assert found.cutover.replaces == "old.example.com"
    assert read(tmp_path, '[app]\nname = "x"\n').config.dropped == {}


def test_broken_toml_says_where(tmp_path: Path) -> None:
    assert "line 2" in problem(tmp_path, "[app]\nname = \n")


def test_key_of_a_named_table(tmp_path: Path) -> None:
    message = problem(tmp_path, '[app]\nname="x"\n[tables.orders]\nhash = "id"\nrnge = "x"\n')
    assert "release.toml:5: unknown key `tables.orders.rnge` (did you mean 'range'?)" in message


@pytest.mark.parametrize(
    ("keys", "line"),
    [(("a", "x"), 2), (("a", "b", "y"), 4), (("a", "b", "z"), 3), (("q",), None)],
)
def test_locate(keys: tuple[str, ...], line: int | None) -> None:
    assert config.locate("[a]\nx = 1\n[a.b]\ny = 2\n", keys) == line


if TYPE_CHECKING:
    from fearless.project import Project


class Quay:
    def __init__(self, organisation: str, retries: int = 3, project: Project | None = None) -> None:
        self.organisation, self.retries, self.project = organisation, retries, project


def registry(tmp_path: Path, settings: str) -> config.ConfigFile:
    return read(tmp_path, f'[app]\nname = "x"\n[registry]\nuse = "quay"\n{settings}')


class Bounded:
    def __init__(self, bucket: Annotated[str, pydantic.Field(pattern="^[a-z]+$")] = "x") -> None:
        self.bucket = bucket


def test_a_setting_may_say_what_is_valid(tmp_path: Path) -> None:
    file = read(tmp_path, '[app]\nname = "shop"\n[registry]\nuse = "b"\nbucket = "Big"\n')
    with pytest.raises(ConfigError) as caught:
        config.arguments(Bounded, file.config.registry.settings(), "registry", file)
    assert str(caught.value) == (
        "error: release.toml:5: [registry] provider 'b': `bucket` = 'Big': "
        "string should match pattern '^[a-z]+$'"
    )


def test_settings_become_constructor_arguments(tmp_path: Path) -> None:
    file = registry(tmp_path, 'organisation = "acme"\n')
    settings = file.config.registry.settings()
    assert config.arguments(Quay, settings, "registry", file) == {"organisation": "acme"}
    assert config.wants(Quay) == {"project"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            'organization = "acme"',
            "release.toml:5: [registry] provider 'quay' has no setting `organization` "
            "(did you mean 'organisation'?); its settings: organisation, retries",
        ),
        ("", "release.toml:3: [registry] provider 'quay' needs the setting `organisation`"),
        ("organisation = 'a'\nretries = 'x'", "release.toml:6: [registry] provider 'quay': `retri"),
        ("organisation = 'a'\nproject = 'x'", "has no setting `project`"),
    ],
)
def test_bad_settings(tmp_path: Path, settings: str, expected: str) -> None:
    file = registry(tmp_path, settings)
    with pytest.raises(ConfigError) as caught:
        config.arguments(Quay, file.config.registry.settings(), "registry", file)
    assert expected in str(caught.value)
