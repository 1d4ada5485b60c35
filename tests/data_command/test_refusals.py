"""Bad input is one line that says what, where, and the way out, and an exit code."""

from __future__ import annotations

import pytest

from fearless.testing.emulator import free_port
from tests.data_command.conftest import Shell

WITH = ("--transforms", "transforms.py", "--table", "orders")


def test_a_table_that_is_not_there(shell: Shell) -> None:
    words = shell.words("copy")
    words[1] = shell.source[:-1]
    line = shell.refusal(words, 2)
    assert line.startswith(f"error: the source: there is no table {shell.source[:-1]!r} in us-east")
    assert shell.emulator.url in line
    assert repr(shell.source) in line
    words = ["status", shell.source, "zzz", "--state-table", shell.state]
    assert "the target: there is no table 'zzz'" in shell.refusal(words, 2)


def test_one_table_on_both_sides(shell: Shell) -> None:
    line = shell.refusal(["copy", shell.source, shell.source], 3)
    assert line.startswith(f"refused: source and target are the same table, {shell.source} in us-")


@pytest.mark.parametrize("view", [None, "NEW_IMAGE"])
def test_streams_off(shell: Shell, view: str | None) -> None:
    name = f"{shell.source}-{view or 'none'}"
    shell.create(name, view)
    line = shell.refusal(["copy", name, shell.target], 3)
    command = (
        f"aws dynamodb update-table --table-name {name} --stream-specification "
        "StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES --region us-east-1 "
        f"--endpoint-url {shell.emulator.url}"
    )
    assert f"`{command}`" in line
    assert ("StreamEnabled=false" in line) == (view is not None)
    shell.client.delete_table(TableName=name)


def test_another_key(shell: Shell) -> None:
    name = f"{shell.target}-n"
    shell.create(name, kind="N")
    line = shell.refusal(["copy", shell.source, name, "--state-table", shell.state], 3)
    assert f"the key of {shell.source} is id (S), that of {name} is id (N)" in line
    shell.client.delete_table(TableName=name)


def test_a_target_that_is_not_empty(shell: Shell) -> None:
    shell.put(1, shell.target)
    line = shell.refusal(shell.words("copy"), 3)
    assert f"{shell.target} is not empty and was not filled by this run" in line


def test_ttl_at_the_target(shell: Shell) -> None:
    shell.client.update_time_to_live(
        TableName=shell.target,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"},
    )
    line = shell.refusal(shell.words("copy"), 3)
    assert line.startswith(f"refused: TTL is on at the target {shell.target} (attribute expires)")
    assert "--time-to-live-specification Enabled=false,AttributeName=expires" in line


def test_nothing_answers(shell: Shell) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    line = shell.refusal(shell.words("copy", "--source-endpoint-url", url), 1)
    assert line == (f"error: the source: nothing answers at {url}: is the endpoint right, and up?")


def test_no_credentials_no_region_no_profile(shell: Shell) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    line = shell.refusal(shell.words("copy"), 4, **nobody)
    assert line.startswith("not authorised: the source: no AWS credentials found: set AWS_ACCESS")
    line = shell.refusal(shell.words("copy"), 2, AWS_REGION=None)
    assert line == ("error: the source: no AWS region: set AWS_REGION or give --region")
    line = shell.refusal(shell.words("copy", "--target-profile", "prod"), 2)
    assert line == "error: the target: The config profile (prod) could not be found"


@pytest.mark.slow
def test_nothing_was_copied_yet(shell: Shell) -> None:
    for command in ("follow", "verify", "repair", "rollback", "pause", "quarantine retry"):
        line = shell.refusal(shell.words(command), 3)
        assert line.startswith(f"refused: nothing was copied from {shell.source} to {shell.target}")
    assert shell.run("status")[0].splitlines()[1] == "phase      nothing was copied yet"
    assert shell.run("quarantine list")[0] == "the quarantine is empty\n"


def test_a_state_table_of_another_kind(shell: Shell) -> None:
    line = shell.refusal(["copy", shell.source, shell.target, "--state-table", shell.source], 3)
    assert line.startswith(f"refused: {shell.source} is not a state table (its key is id, not pk")


@pytest.mark.slow
def test_other_transforms_than_the_run_was_begun_with(shell: Shell) -> None:
    shell.put(1)
    shell.run("copy", *WITH)
    shell.file.write_text(shell.file.read_text() + "\n# changed\n")
    for command in ("follow", "verify", "copy"):
        line = shell.refusal(shell.words(command), 3)
        assert line.startswith("refused: this run was begun with other transforms (/")
        assert "--again" in line
    assert shell.json("status")["phase"] == "replay"
    out, err = shell.run("copy", "--again", *WITH)
    assert out.startswith("copied ")
    assert "--again is for changed" in shell.refusal(shell.words("copy", "--again", *WITH), 3)
    assert "copying again: the transforms are not the ones it was begun with" in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def transforms(:\n", "cannot be imported: invalid syntax ({file}:1)"),
        ("import nothing_like_it\n", "ModuleNotFoundError: No module named 'nothing_like_it' ("),
        ("x = 1\n", "it has neither a function transforms() nor a list TRANSFORMS"),
        ("TRANSFORMS = []\n", "there is no transform in it"),
        ("TRANSFORMS = [1]\n", "TRANSFORMS must be a list of Transform, one is a int"),
        ("def transforms():\n    return 1 / 0\n", "transforms() failed: ZeroDivisionError"),
        ("def transforms():\n    return None\n", "transforms() failed: TypeError"),
    ],
)
def test_a_file_without_good_transforms(shell: Shell, text: str, told: str) -> None:
    shell.file.write_text(text)
    line = shell.refusal(shell.words("copy", "--transforms", "transforms.py"), 2)
    assert line.startswith(f"error: {shell.file}")
    assert told.format(file=shell.file) in line


def test_a_file_for_other_tables(shell: Shell) -> None:
    line = shell.refusal(shell.words("copy", "--transforms", "transforms.py"), 2)
    assert f"no transform is for a table named {shell.source!r}" in line
    assert "its transforms are for orders; say which of them it is with --table" in line
    line = shell.refusal(shell.words("copy", "--transforms", "no.py"), 2)
    assert "there is no such file" in line
    line = shell.refusal(shell.words("copy", "--processes", "2"), 2)
    assert "--processes is for --engine processes" in line
    assert "--queue" in shell.refusal(shell.words("copy", "--engine", "celery"), 2)


def test_keys_are_checked(shell: Shell) -> None:
    shell.put(1)
    shell.run("copy")
    for key, told in (
        ("o-1", "not JSON"),
        ('{"pk": "x"}', f"the key of {shell.source} is id (S), no more, no less"),
        ('{"id": 7}', "7 is not a string: write it in double quotes"),
    ):
        words = shell.words("quarantine waive", "--key", key, "--reason", "r")
        assert told in shell.refusal(words, 2)
