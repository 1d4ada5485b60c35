"""Status is a function of the rows."""

from __future__ import annotations

from fearless.data.copy import new_segment
from fearless.data.replay import new_shard
from fearless.data_command.status import describe, summary

NOW = 10_000.0
META = {
    "phase": "replay",
    "reason": "",
    "generation": 1,
    "segments": 2,
    "owner": "abc",
    "pid": 7,
    "host": "here",
    "since": "2026-01-01 00:00:00 UTC",
    "verified": {"watch": 3, "at": int(NOW) - 90},
    "tables": {"orders": {"source": "orders", "target": "orders-v2", "t0": NOW - 600}},
}


def segment(number: int, **changes: object) -> dict[str, object]:
    return {**new_segment(number, 2), "sk": f"T#orders#SEG#{number:06d}", **changes}


def shard(name: str, **changes: object) -> dict[str, object]:
    return {**new_shard(name, None), "sk": f"T#orders#SHARD#{name}", **changes}


def kept(number: int, waived: str = "") -> dict[str, object]:
    return {"sk": f"T#orders#Q#{number}", "open": True, "waived": waived}


ROWS = [
    segment(0, done=True, read=900, written=880, dropped=20, bytes=1_500_000),
    segment(1, read=50, written=50, owner="0123456789"),
    shard("s1", done=True, checkpoint="17", applied=5, last=(NOW - 500) * 1000),
    shard("s2", checkpoint="19", applied=2, owner="0123456789", tip=(NOW - 3) * 1000),
    shard("s3"),
    kept(1),
    kept(2, "a test"),
    {"sk": "T#orders#Q#3", "open": False, "waived": ""},
    {"sk": "T#orders#SUS#x", "count": 4},
]
WORKERS = [{"owner": "0123456789", "host": "here", "pid": 8, "ghost": True}]
STATUS = {
    "run": "data-1",
    "state_table": "fearless-state",
    "cutover": None,
    "back": None,
    **summary(META, {"orders": ROWS}, WORKERS, NOW),
}


def test_a_table_sums_its_rows() -> None:
    table = STATUS["tables"]["orders"]
    assert (table["read"], table["written"], table["dropped"]) == (950, 930, 20)
    assert (table["segments"], table["segments_done"]) == (2, 1)
    assert table["segments_in_work"] == [{"segment": 1, "read": 50, "worker": "0123456789"}]
    assert (table["quarantine"], table["waived"], table["suspects"]) == (2, 1, 4)
    assert table["applied"] == 7


def test_the_shard_that_is_furthest_behind_is_the_lag() -> None:
    shards = {entry["shard"]: entry for entry in STATUS["tables"]["orders"]["shards"]}
    assert {name: entry["state"] for name, entry in shards.items()} == {
        "s1": "done",
        "s2": "active",
        "s3": "waiting",
    }
    assert {name: entry["lag"] for name, entry in shards.items()} == {
        "s1": None,
        "s2": 3.0,
        "s3": 600.0,
    }
    assert shards["s2"]["checkpoint"] == "19"
    assert STATUS["lag"] == 600.0


def test_for_people() -> None:
    assert list(describe(STATUS)) == [
        "run        data-1, remembered in fearless-state",
        "phase      copied, changes are applied as they come",
        "held by    process 7 on here since 2026-01-01 00:00:00 UTC",
        "worker     01234567  process 8 on here, silent for too long: given up",
        "table      orders: orders -> orders-v2",
        "  copy       1/2 segments, 950 items read (1.5 MB): 930 written, 20 dropped",
        "    segment 1  50 items  worker 01234567",
        "  quarantine 2 items, 1 of them waived",
        "  suspects   4 items to look at again",
        "  changes    7 applied, lag 10 min",
        "    s1  done  at 17  5 applied",
        "    s2  active  at 19  2 applied  lag 3.0 s  worker 01234567",
        "    s3  waiting  0 applied  lag 10 min",
        "verified   everything was equal 1 min 30 s ago",
    ]


def test_a_run_nobody_began() -> None:
    nothing = summary({}, {}, [], 0.0)
    assert (nothing["phase"], nothing["tables"], nothing["held_by"]) == ("none", {}, None)


def test_a_cutover_and_a_way_back() -> None:
    cutover = {
        "step": "ABORTED",
        "live": "source",
        "reason": "too slow",
        "evidence": {"CHECK": "7 guards hold"},
    }
    back = {**STATUS, "verified": None, "paused": True, "reason": "", "phase": "replay"}
    lines = list(describe({**STATUS, "cutover": cutover, "back": back}))
    assert "cutover    ABORTED: too slow; the old table is live" in lines
    assert "  CHECK      7 guards hold" in lines
    assert "  verified   no: not since the copy, a repair or a difference" in lines
    assert lines[lines.index("way back") + 2].startswith("             paused: `fearless data")
