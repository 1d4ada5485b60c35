"""The whole way of a table from the command line, as processes against a real engine."""

from __future__ import annotations

import json
import time

import pytest

from tests.data_command.conftest import Shell

pytestmark = pytest.mark.slow

WITH = ("--transforms", "transforms.py", "--table", "orders")
BAD = {"bad": {"BOOL": True}}


def test_copy_follow_verify_status(shell: Shell) -> None:
    for number in range(30):
        shell.put(number)
    out, err = shell.run("copy", *WITH)
    assert out.startswith(f"copied {shell.source} to {shell.target}: 30 items read, 30 written")
    assert f"fearless data follow {shell.source} {shell.target}" in out
    assert f"creating the table {shell.state}" in err
    assert shell.items(shell.target)["o-7"] == {"id": {"S": "o-7"}, "name": {"S": "order 7"}}
    shell.put(30)
    out, _ = shell.run("follow")
    assert "changes applied in all" in out
    out, _ = shell.run("verify")
    assert out.startswith(f"equal: all 31 items of {shell.target}")
    out, _ = shell.run("status")
    assert "copied, changes are applied as they come" in out
    assert f"table      orders: {shell.source} -> {shell.target}" in out
    assert "4/4 segments, 30 items read" in out
    assert "quarantine empty" in out
    assert "everything was equal" in out
    status = shell.json("status")
    assert status["phase"] == "replay"
    table = status["tables"]["orders"]
    assert (table["read"], table["written"], table["quarantine"]) == (30, 30, 0)
    assert table["bytes"] > 1000
    (shard,) = table["shards"]
    assert shard["checkpoint"].isdigit()
    assert shard["lag"] < 60
    assert status["verified"]["clean"] is True
    assert shell.client.describe_table(TableName=shell.state)["Table"]["DeletionProtectionEnabled"]


def test_a_difference_is_named_and_repaired(shell: Shell) -> None:
    for number in range(5):
        shell.put(number)
    shell.run("copy", *WITH)
    shell.run("follow")
    shell.put(3, shell.target)
    out, _ = shell.run("verify", code=1)
    assert "NOT equal: 1 of 5 items" in out
    assert "different: " in out
    assert "o-3" in out
    assert f"fearless data repair {shell.source}" in out
    out, _ = shell.run("repair")
    assert out.startswith("equal: all 5 items")


def test_quarantine_list_retry_waive(shell: Shell) -> None:
    shell.put(1)
    shell.put(2, **BAD)
    out, _ = shell.run("copy", *WITH)
    assert "1 in quarantine" in out
    assert "1 items could not be migrated: see `fearless data quarantine list" in out
    out, _ = shell.run("quarantine list")
    key = '{"id": "o-2"}'
    assert out.startswith(f"{key}  rename: KeyError: 'bad' (transforms.py:")
    out, _ = shell.run("quarantine retry", code=1)
    assert out.startswith("tried 1 again: 0 migrated")
    assert "quarantined" in shell.run("verify", code=1)[0]
    refused = shell.refusal(
        shell.words("quarantine waive", "--key", '{"id": "o-1"}', "--reason", "no"), 3
    )
    assert refused.startswith('refused: {"id": "o-1"} is not in quarantine: see `fearless data')
    out, _ = shell.run("quarantine waive", "--key", key, "--reason", "a test order")
    assert out == f"waived {key}: the target goes without it (a test order)\n"
    out, _ = shell.run("verify")
    assert "1 waived" in out
    (entry,) = shell.json("quarantine list")["items"]
    assert entry["key"] == {"id": "o-2"}
    assert entry["waived"] == "a test order"
    assert "order 2" not in json.dumps(entry)
    shell.put(2)
    shell.run("follow")
    assert shell.run("quarantine list")[0] == "the quarantine is empty\n"


def test_json_is_one_object_a_line(shell: Shell) -> None:
    shell.put(1)
    out, err = shell.run("copy", *WITH, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    assert [e["event"] for e in events if e["event"] != "progress"] == ["line", "result"]
    assert events[-1]["read"] == 1
    assert shell.json("follow")["phase"] == "replay"
    assert shell.json("verify")["clean"] is True
    error = shell.json("cutover", "--fence", "magic", code=2)
    assert (error["event"], error["exit_code"]) == ("error", 2)


def test_interrupted_and_run_again(shell: Shell) -> None:
    for number in range(40):
        shell.put(number)
    slow = "def rename(item):\n    import time\n    time.sleep(0.4)\n"
    shell.file.write_text(shell.file.read_text().replace("def rename(item):\n", slow))
    words = shell.words("copy", *WITH, "--segments", "16", "--json")
    process = shell.start(words)
    shown = shell.progress(process)
    assert shown["label"] == "copy orders"
    assert shown["tables"]["orders"]["segments"] == 16
    _, err = shell.interrupt(process)
    assert process.returncode == 130, err
    assert len(shell.items(shell.target)) < 40
    assert err.splitlines()[-1] == "interrupted: run the same command again to go on"
    assert "Traceback" not in err
    status = shell.json("status")
    assert status["held_by"] is None
    assert status["workers"] == []
    out, _ = shell.run("copy")
    assert "40 items read, 40 written" in out


def test_follow_for_ever_until_interrupted(shell: Shell) -> None:
    shell.put(1)
    shell.run("copy", *WITH)
    process = shell.start(shell.words("follow", "--forever"))
    for number in (2, 3):
        shell.put(number)
        deadline = time.monotonic() + 60
        while f"o-{number}" not in shell.items(shell.target):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    _, err = shell.interrupt(process)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted: run the same command again to go on"
    assert shell.json("status")["held_by"] is None


def test_paused_workers_wait(shell: Shell) -> None:
    shell.put(1)
    shell.run("copy", *WITH)
    out, _ = shell.run("pause", "--reason", "a sale")
    assert out.startswith("paused; go on with `fearless data resume")
    assert "paused (a sale): `fearless data resume` lets it go on" in shell.run("status")[0]
    shell.put(2)
    process = shell.start(shell.words("follow", "--json"))
    shown = shell.progress(process)
    assert list(shell.items(shell.target)) == ["o-1"]
    assert shell.run("resume")[0] == "going on\n"
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert set(shell.items(shell.target)) == {"o-1", "o-2"}
    assert shown["tables"]["orders"]["shards"][0]["state"] in ("active", "waiting")
    assert shell.json("status")["paused"] is False


def test_sample_writes_nothing(shell: Shell) -> None:
    for number in range(20):
        shell.put(number)
    out, _ = shell.run("sample", *WITH, "--count", "10", "--values")
    assert out.startswith("orders: 10 read, 10 kept (10 changed), 0 dropped")
    assert "every item comes back as it was" in out
    assert "name" in out
    assert shell.json("sample", *WITH)["read"] == 20
    shell.put(99, **BAD)
    out, _ = shell.run("sample", *WITH, code=1)
    assert "fails: 1 × rename: KeyError" in out
    assert "order 99" not in out
    assert shell.items(shell.target) == {}
    assert shell.json("status")["phase"] == "none"


def test_in_processes(shell: Shell) -> None:
    for number in range(30):
        shell.put(number)
    out, _ = shell.run("copy", *WITH, "--engine", "processes", "--processes", "2")
    assert "30 items read, 30 written (30 changed)" in out
    assert shell.run("verify")[0].startswith("equal: all 30 items")
