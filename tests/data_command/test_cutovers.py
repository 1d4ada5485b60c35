"""Go over and back from the command line, with a maintenance switch as the fence."""

from __future__ import annotations

import pytest

from fearless.data_command.cutovers import Choice
from fearless.data_command.fences import FENCE, OPEN, Spec
from fearless.errors import ConfigError
from tests.data_command.conftest import Shell, Switch

WITH = ("--transforms", "transforms.py", "--table", "orders")


@pytest.mark.slow
def test_over_and_back(shell: Shell, switch: Switch) -> None:
    for number in range(5):
        shell.put(number)
    shell.run("copy", *WITH)
    hooks = ("--fence", switch.hook("old"), "--open", switch.hook("new"))
    line = shell.refusal(shell.words("cutover", *hooks), 3)
    assert line.endswith(
        f"this stops the writers of {shell.source}, and opens {shell.target} when nothing is "
        "missing: add --yes"
    )
    assert not switch.closed("old")
    out, err = shell.run("cutover", *hooks, "--yes")
    assert out.startswith(f"DONE: {shell.target} is live; writes were refused for ")
    assert "VERIFY: " in err
    assert switch.closed("old")
    assert not switch.closed("new")
    assert "cutover    DONE; the new table is live" in shell.run("status")[0]
    assert "the new tables are live already" in shell.refusal(shell.words("cutover", "--yes"), 3)

    shell.client.put_item(
        TableName=shell.target, Item={"id": {"S": "o-9"}, "name": {"S": "written after"}}
    )
    assert "is live since the cutover: nothing may be copied over it" in shell.refusal(
        shell.words("copy"), 3
    )
    out, err = shell.run("follow")
    assert out.startswith("caught up: ")
    assert f"{shell.target} is live: what changes there is applied to {shell.source}" in err
    assert "o-9" in shell.items(shell.source)
    assert shell.run("verify")[0].startswith("equal: ")
    assert "way back" in shell.run("status")[0]
    watched = shell.run("watch")[0]
    assert watched.startswith(f"nothing was written to {shell.source} after its fence"), watched
    late = {"id": {"S": "o-0"}, "title": {"S": "by somebody who was not stopped"}}
    shell.client.put_item(TableName=shell.source, Item=late)
    assert shell.json("watch", code=1)["conflicts"] == 1
    shell.client.put_item(TableName=shell.target, Item={"id": late["id"], "name": late["title"]})
    assert shell.json("watch")["conflicts"] == 0
    out, _ = shell.run("rollback", "--yes")
    assert out.startswith(f"DONE: {shell.source} is live; writes were refused for ")
    assert shell.items(shell.source)["o-9"] == {
        "id": {"S": "o-9"},
        "title": {"S": "written after"},
    }
    assert switch.closed("new")
    assert not switch.closed("old")
    assert shell.json("status")["cutover"]["live"] == "source"


@pytest.mark.slow
def test_nothing_is_fenced_while_items_are_in_quarantine(shell: Shell, switch: Switch) -> None:
    shell.put(1, bad={"BOOL": True})
    shell.run("copy", *WITH)
    hooks = ("--fence", switch.hook("old"), "--open", "none")
    line = shell.refusal(shell.words("cutover", *hooks, "--yes"), 3)
    assert "quarantine" in line
    assert not switch.closed("old")
    line = shell.refusal(shell.words("cutover", "--resume"), 3)
    assert "no cutover is under way" in line
    shell.file.unlink()
    assert shell.run("cutover", "--abort")[0] == f"ABORTED: {shell.source} is live\n"
    assert '{"id": "o-1"}' in shell.run("quarantine list")[0]


def test_fences_are_written_as_kind_and_value() -> None:
    assert Spec.of("role:a,b", "--fence", FENCE) == Spec("role", "a,b")
    assert Spec.of("hook:x --y:z", "--fence", FENCE) == Spec("hook", "x --y:z")
    assert str(Spec.of("policy", "--fence", FENCE)) == "policy"
    assert Spec.of("none", "--open", OPEN) == Spec("none")
    for wrong in ("none", "role", "role:", "policy:x", "magic:y", ""):
        with pytest.raises(ConfigError, match=r"must be one of role:.+, policy, hook:.+, stop"):
            Spec.of(wrong, "--fence", FENCE)


def test_the_way_back_uses_what_the_way_there_used() -> None:
    there = Choice(Spec("role", "old"), Spec("role", "new"))
    assert Choice.of(None, None, there.reversed) == Choice(Spec("role", "new"), Spec("role", "old"))
    assert Choice.of("policy", None, there) == Choice(Spec("policy"), Spec("role", "new"))
    assert Choice.of("policy", None, None) == Choice(Spec("policy"), Spec("none"))
    with pytest.raises(ConfigError, match="Give --fence role:NAME"):
        Choice.of(None, None, None)
    with pytest.raises(ConfigError, match="give --fence"):
        Choice.of(None, None, Choice(Spec("policy"), Spec("none")).reversed)
