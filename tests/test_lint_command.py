"""`fearless lint`, as it is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fearless.cli import main

TOML = '[app]\nname = "shop"\nsource = "app"\n'
CLEAN = "FROM a@sha256:1\nUSER 1\nHEALTHCHECK NONE\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "release.toml").write_text(TOML)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text("FROM a:1\n")
    return tmp_path


def test_warnings_are_shown_and_make_it_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "app/Dockerfile:1: warning: root-user: there is no USER" in "\n".join(lines)


def test_what_is_only_information_does_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "release.toml").write_text(f'{TOML}[container]\nlint_ignore = ["root-user"]\n')
    assert main(["lint"]) == 0
    assert "info: no-healthcheck" in capsys.readouterr().out


def test_settings_of_the_container_are_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = '[container]\ndockerfile = "Prod"\nargs = { BASE = "a@sha256:1" }\n'
    (folder / "release.toml").write_text(TOML + settings)
    (folder / "app" / "Prod").write_text(f"ARG BASE=a\n{CLEAN.replace('a@sha256:1', '$BASE')}")
    assert main(["lint"]) == 0
    assert capsys.readouterr().out == "app/Prod: nothing found\n"


def test_a_file_needs_no_project(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "release.toml").unlink()
    (folder / "other").write_text(CLEAN)
    assert main(["lint", "other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "other", "findings": []}


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["lint", "none"], "error: there is no none; set `[app] source` to the folder with it"),
        (["lint", "app"], "error: app cannot be read: "),
        (["lint", "release.toml"], "error: release.toml:1: unknown instruction '[app]'"),
    ],
)
def test_what_cannot_be_read(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) in (1, 2)
    assert capsys.readouterr().err.startswith(line)


def test_without_a_project_it_asks_for_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "release.toml").unlink()
    assert main(["lint"]) == 2
    assert "name a Dockerfile, `fearless lint FILE`" in capsys.readouterr().err


def test_rules_that_do_not_exist_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "release.toml").write_text(f'{TOML}[container]\nlint_ignore = ["root"]\n')
    assert main(["lint"]) == 2
    assert "release.toml:5: `container.lint_ignore.0` = 'root': input should be" in (
        capsys.readouterr().err
    )
