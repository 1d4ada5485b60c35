"""What a run's rows say of it: `read`, as plain values for programs, and `describe`, for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fearless.data.calls import Caller
from fearless.data.copy import COUNTS
from fearless.data.machinery import Machinery
from fearless.data.metrics import amount, duration
from fearless.data.signals import PAUSE, Signals
from fearless.data.state import Row, StateTable
from fearless.data.worker import run_key

Status = dict[str, Any]

CUTOVER_KEYS = ("step", "live", "attempt", "reason", "evidence", "pause")
RUNNING = ("copying", "replay")


class Reader:
    """Reads the rows of one run, both ways, without taking part in it."""

    def __init__(
        self,
        client: Any,
        table: str,
        run: str,
        wall: Callable[[], float],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._run = run
        self._wall = wall
        self._caller = Caller(
            lambda: None, lambda: None, time.monotonic, sleep, lambda: None, patience=20.0
        )

    def read(self) -> Status:
        """Everything: the way there, the way back (None before any), and the cutover."""
        there = self.one_way(back=False)
        back = self.one_way(back=True)
        row = self._rows(back=False).row(self._caller, 0, "CUTOVER")
        there["cutover"] = {k: row[k] for k in CUTOVER_KEYS if k in row} if row else None
        there["back"] = back if back["phase"] != "none" else None
        return {"run": self._run, "state_table": self._table, **there}

    def live(self) -> str:
        """`target` from when a cutover is done until a rollback is; otherwise `source`."""
        row = self._rows(back=False).row(self._caller, 0, "CUTOVER")
        return str(row["live"]) if row else "source"

    def step(self) -> str:
        """Where the cutover is; empty before any."""
        row = self._rows(back=False).row(self._caller, 0, "CUTOVER")
        return str(row["step"]) if row else ""

    def meta(self) -> Row | None:
        """The row of the run itself, of the way there."""
        return self._rows(back=False).meta(self._caller)

    def pause(self, why: str) -> None:
        """Let all workers wait, those of the way back, too."""
        for back in (False, True):
            Signals(self._rows(back), Machinery()).pause(why)

    def resume(self) -> None:
        """Let them go on."""
        for back in (False, True):
            Signals(self._rows(back), Machinery()).resume()

    def _rows(self, back: bool) -> StateTable:
        return StateTable(self._client, self._table, run_key(self._run, back))

    def one_way(self, back: bool) -> Status:
        """One direction of the run."""
        state = self._rows(back)
        meta = state.meta(self._caller)
        if meta is None:
            return summary({}, {}, [], self._wall())
        generation = int(meta["generation"])
        rows = {
            name: [
                row
                for kind in ("SEG#", "SHARD#", "Q#", "SUS#")
                for row in state.rows(self._caller, generation, f"T#{name}#{kind}")
            ]
            for name in meta.get("tables", {})
        }
        workers = state.rows(self._caller, 0, "WORKER#")
        paused = state.row(self._caller, 0, PAUSE)
        return summary(meta, rows, workers, self._wall(), paused)


def summary(
    meta: Mapping[str, Any],
    rows: Mapping[str, Sequence[Row]],
    workers: Sequence[Row],
    now: float,
    paused: Row | None = None,
) -> Status:
    """The state of a run by its rows, at the server's time `now`. Times in seconds."""
    tables = {
        name: table(meta["tables"][name], found, int(meta.get("segments", 0)), now)
        for name, found in rows.items()
    }
    lags = [entry["lag"] for entry in tables.values() if entry["lag"] is not None]
    holder = {key: meta.get(key) for key in ("host", "pid", "since")} if meta.get("owner") else None
    return {
        "phase": meta.get("phase", "none"),
        "reason": meta.get("reason", ""),
        "paused": paused is not None,
        "paused_why": paused.get("why", "") if paused else "",
        "lag": max(lags, default=None) if meta.get("phase") == "replay" else None,
        "held_by": holder,
        "workers": [
            {"id": row["owner"], "host": row["host"], "pid": row["pid"], "silent": row["ghost"]}
            for row in workers
        ],
        "verified": _verified(meta, now),
        "tables": tables,
    }


def table(position: Mapping[str, Any], rows: Sequence[Row], segments: int, now: float) -> Status:
    """One table's part of it."""
    kinds: dict[str, list[Row]] = {"SEG": [], "SHARD": [], "Q": [], "SUS": []}
    for row in rows:
        kinds[row["sk"].split("#")[2]].append(row)
    kept = [row for row in kinds["Q"] if row["open"]]
    shards = [shard(row, position, now) for row in kinds["SHARD"]]
    lags = [entry["lag"] for entry in shards if entry["lag"] is not None]
    return {
        "source": position["source"],
        "target": position["target"],
        **{name: sum(int(row.get(name, 0)) for row in kinds["SEG"]) for name in COUNTS},
        "segments": segments,
        "segments_done": sum(1 for row in kinds["SEG"] if row["done"]),
        "segments_in_work": [
            {"segment": int(row["segment"]), "read": int(row["read"]), "worker": row["owner"]}
            for row in kinds["SEG"]
            if not row["done"] and row["owner"]
        ],
        "quarantine": len(kept),
        "waived": sum(1 for row in kept if row["waived"]),
        "suspects": sum(int(row.get("count", 1)) for row in kinds["SUS"]),
        "applied": sum(entry["applied"] for entry in shards),
        "lag": max(lags, default=None),
        "shards": shards,
    }


def shard(row: Row, position: Mapping[str, Any], now: float) -> Status:
    """A shard: how far it is applied. `lag` None: it has ended, and all of it is applied."""
    applied_to = max(int(row.get("tip", 0)), int(row.get("last", 0))) / 1000
    lag = max(0.0, now - max(applied_to, float(position["t0"])))
    return {
        "shard": row["shard"],
        "parent": row["parent"],
        "state": "done" if row["done"] else "active" if row["owner"] else "waiting",
        "checkpoint": row["checkpoint"] or None,
        "applied": int(row["applied"]),
        "expired": int(row.get("expired", 0)),
        "lag": None if row["done"] else round(lag, 1),
        "worker": row["owner"] or None,
    }


def _verified(meta: Mapping[str, Any], now: float) -> Status | None:
    """When everything was proven equal; None when it was not, or was repaired since."""
    found = meta.get("verified")
    if not found:
        return None
    at = int(found["at"])
    return {"clean": True, "at": at, "age": max(0.0, round(now - at, 1))}


# ------------------------------------------------------------------ for people


def describe(status: Status) -> Iterator[str]:
    """The lines of `fearless data status`."""
    yield f"run        {status['run']}, remembered in {status['state_table']}"
    yield from _direction(status)
    if status["cutover"]:
        yield from _cutover(status["cutover"])
    if status["back"]:
        yield "way back"
        yield from (f"  {line}" for line in _direction(status["back"]))


def _direction(status: Status) -> Iterator[str]:
    phase = {
        "none": "nothing was copied yet",
        "copying": "copying",
        "replay": "copied, changes are applied as they come",
        "broken": "broken",
    }.get(status["phase"], status["phase"])
    yield f"phase      {phase}" + (f": {status['reason']}" if status["reason"] else "")
    if status["paused"]:
        why = f" ({status['paused_why']})" if status["paused_why"] else ""
        yield f"           paused{why}: `fearless data resume` lets it go on"
    if holder := status["held_by"]:
        yield f"held by    process {holder['pid']} on {holder['host']} since {holder['since']}"
    for worker in status["workers"]:
        silent = ", silent for too long: given up" if worker["silent"] else ""
        yield f"worker     {worker['id'][:8]}  process {worker['pid']} on {worker['host']}{silent}"
    for name, entry in status["tables"].items():
        yield f"table      {name}: {entry['source']} -> {entry['target']}"
        yield from _table(entry)
    if status["verified"]:
        yield f"verified   everything was equal {duration(status['verified']['age'])} ago"
    elif status["phase"] == "replay":
        yield "verified   no: not since the copy, a repair or a difference"


def _table(entry: Status) -> Iterator[str]:
    done, total = entry["segments_done"], entry["segments"]
    yield (
        f"  copy       {done}/{total} segments, {entry['read']:,} items read"
        + (f" ({amount(entry['bytes'])})" if entry["bytes"] else "")
        + f": {entry['written']:,} written, {entry['dropped']:,} dropped"
    )
    for part in entry["segments_in_work"]:
        yield f"    segment {part['segment']}  {part['read']:,} items  worker {part['worker'][:8]}"
    kept = f"{entry['quarantine']:,} items" if entry["quarantine"] else "empty"
    waived = f", {entry['waived']:,} of them waived" if entry["waived"] else ""
    yield f"  quarantine {kept}{waived}"
    if entry["suspects"]:
        yield f"  suspects   {entry['suspects']:,} items to look at again"
    if entry["shards"]:
        lag = "" if entry["lag"] is None else f", lag {duration(entry['lag'])}"
        yield f"  changes    {entry['applied']:,} applied{lag}"
    for part in entry["shards"]:
        lag = "" if part["lag"] is None else f"  lag {duration(part['lag'])}"
        worker = f"  worker {part['worker'][:8]}" if part["worker"] else ""
        at = f"  at {part['checkpoint']}" if part["checkpoint"] else ""
        yield f"    {part['shard']}  {part['state']}{at}  {part['applied']:,} applied{lag}{worker}"


def _cutover(found: Status) -> Iterator[str]:
    live = {"source": "the old table is live", "target": "the new table is live"}
    reason = f": {found['reason']}" if found.get("reason") else ""
    yield f"cutover    {found['step']}{reason}; {live.get(found.get('live', ''), 'none is live')}"
    for step, evidence in (found.get("evidence") or {}).items():
        yield f"  {step:<10} {evidence}"
