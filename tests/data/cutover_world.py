"""Two sides, their fences and their clock, and processes that die or are held up anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from fearless.data.cutover import Cutover
from fearless.data.withdrawal import Limits
from fearless.errors import FearlessError
from fearless.interfaces import DataState, Verdict
from fearless.owner import Owner
from fearless.testing.fakes import SilentReport

LIMITS = Limits(budget=60, margin=15, lease=30, request=12, skew=2)
SLACK = 8.0
TICK = 0.25


class Killed(BaseException):
    """The process is dead: nothing it does has an effect any more."""


class Violation(AssertionError):
    """A rule that must hold at every moment did not."""


@dataclass
class Put:
    """A denial that the service holds: it takes effect at `begins`, until `ends` (None: never)."""

    attempt: int
    begins: float
    ends: float | None


@dataclass
class Side:
    puts: list[Put] = field(default_factory=list)
    items: set[int] = field(default_factory=set)

    def fenced(self, now: float) -> bool:
        return any(p.begins <= now and (p.ends is None or now < p.ends) for p in self.puts)


class World:
    """The truth. The applications write whatever they can at every tick."""

    def __init__(self, timed: bool = True, delay: float = 0.0, drain_takes: float = 0.0) -> None:
        self.now = 1000.0
        self.timed = timed
        self.delay = delay
        self.drain_takes = drain_takes
        self.sides = {"source": Side(), "target": Side([Put(0, 0.0, None)])}
        self.row: dict[str, Any] | None = None
        self.written = 0
        self.neither_since: float | None = None
        self.decided: list[str] = []
        self.dead: set[str] = set()
        self.differs = False

    def tick(self, seconds: float = TICK) -> None:
        while seconds > 0:
            step = min(seconds, 1.0)
            self.now += step
            seconds -= step
            self.look()

    def look(self) -> None:
        open_ = [name for name, side in self.sides.items() if not side.fenced(self.now)]
        if len(open_) == 2:
            raise Violation(f"both sides are writable at {self.now}: {self.row}")
        for name in open_:
            self.written += 1
            self.sides[name].items.add(self.written)
            if len(self.sides[name].items) != self.written:
                raise Violation(f"{name} is written, and lacks what was written before")
        if open_:
            self.neither_since = None
            return
        decided = self.row is not None and self.row["step"] in ("OPEN", "DONE")
        if self.neither_since is None or decided:
            self.neither_since = self.now
        limit = LIMITS.budget + LIMITS.margin + SLACK
        step = self.row["step"] if self.row else ""
        if self.now - self.neither_since > limit and self.timed:
            raise Violation(f"nobody can write for {limit} s at step {step}")

    def swap(self, row: dict[str, Any], seen: int | None) -> bool:
        if (self.row and self.row["version"]) != seen:
            return False
        self.note(row)
        self.row = dict(row)
        return True

    def note(self, row: dict[str, Any]) -> None:
        before = self.row or {"step": "", "attempt": 0, "sealed": False}
        if row["step"] == "ABORTED" and before["step"] != "ABORTED" and before["sealed"]:
            raise Violation("aborted after the opening was sealed")
        if row["step"] != before["step"]:
            self.decided.append(row["step"])

    def settle(self) -> None:
        """The end: one side is writable, the one that the row says, and nothing was lost."""
        self.tick(LIMITS.budget + LIMITS.margin + SLACK)
        row = self.row or {"step": "", "live": "source"}
        live = row["live"]
        other = "source" if live == "target" else "target"
        if row["step"] in ("ABORTED", "DONE", ""):
            if self.sides[live].fenced(self.now):
                raise Violation(f"{row['step']}, and {live} cannot be written")
            if not self.sides[other].fenced(self.now):
                raise Violation(f"{row['step']}, and {other} can be written")
            if any(p.ends is not None and p.ends > self.now for p in self.sides[other].puts):
                raise Violation(f"the fence of {other} will lift itself")


class Actor:
    """A process. It may die before or after its `kill`-th effect, or be held before any."""

    def __init__(self, world: World, name: str, kill: int | None = None) -> None:
        self.world = world
        self.name = name
        self.kill = kill
        self.count = 0
        self.gate: Callable[[], None] = lambda: None
        self.report = SilentReport()

    def effect(self, do: Callable[[], Any], takes: float = TICK) -> Any:
        self._point()
        self.gate()
        result = do()
        self.world.tick(takes)
        self._point()
        return result

    def _point(self) -> None:
        if self.kill is not None and self.count >= self.kill:
            self.world.dead.add(self.name)
            raise Killed(self.name)
        self.count += 1

    # rows
    def read(self) -> Any:
        return self.effect(lambda: self.world.row and dict(self.world.row))

    def swap(self, row: dict[str, Any], seen: int | None) -> bool:
        return bool(self.effect(lambda: self.world.swap(row, seen)))

    # time
    def sleep(self, seconds: float) -> None:
        self.effect(lambda: None, seconds)

    def owner(self) -> Owner:
        world = self.world

        class Process(Owner):
            def dead(self, row: Any) -> bool:
                return row["host"] in world.dead

        return Process(self.name, "", 1, "1", self.name)


class FakeFence:
    """One side's fence, as one process sees it. The service forgets no number."""

    def __init__(self, actor: Actor, side: str) -> None:
        self._actor = actor
        self._side = actor.world.sides[side]
        self.timed = actor.world.timed
        self.forgetful = False

    def fence(self, attempt: int, seconds: float | None) -> None:
        world = self._actor.world
        asked = world.now

        def put() -> None:
            begins = world.now + world.delay
            ends = None if seconds is None or not self.timed else asked + seconds
            for old in self._side.puts:
                weaker = old.ends is None and ends is not None and not self.forgetful
                if old.attempt == attempt and not weaker:
                    old.ends = begins if old.ends is None else min(old.ends, begins)
            self._side.puts.append(Put(attempt, begins, ends))

        self._actor.effect(put)

    def unfence(self, attempt: int) -> None:
        def lift() -> None:
            self._side.puts = [p for p in self._side.puts if p.attempt > attempt]

        self._actor.effect(lift)

    def confirm(self, report: Any) -> str:
        deadline = self._actor.world.now + 20
        while not self._actor.effect(self.fenced):
            if self._actor.world.now > deadline:
                raise FearlessError("it can still be written")
        return "denied"

    def fenced(self) -> bool:
        return self._side.fenced(self._actor.world.now)


class FakeMover:
    """Copies from the live side to the other."""

    def __init__(self, actor: Actor, back: bool) -> None:
        self._actor = actor
        self._world = actor.world
        names = ("target", "source") if back else ("source", "target")
        self._live, self._other = (actor.world.sides[name] for name in names)
        self._seen: set[int] = set()
        self.verified = False

    def state(self) -> DataState:
        return DataState(phase="replay", lag=0.0)

    def _copy(self) -> DataState:
        self._seen = set(self._live.items)
        self._other.items |= self._seen
        return self.state()

    def follow(self) -> DataState:
        return self._actor.effect(self._copy)  # type: ignore[no-any-return]

    def drain(self) -> DataState:
        return self._actor.effect(self._copy, TICK + self._world.drain_takes)  # type: ignore[no-any-return]

    def verify(self, still: bool = False) -> Verdict:
        def compare() -> Verdict:
            looked_at = self._seen if self.verified else self._live.items
            equal = not still or looked_at <= self._other.items
            self.verified = True
            wrong = ("an item",) if (self._world.differs and still) or not equal else ()
            return Verdict(len(self._live.items), missing=wrong)

        return self._actor.effect(compare)  # type: ignore[no-any-return]

    def turn(self) -> None:
        self._actor.effect(lambda: None)

    def forget_turn(self, why: str) -> None:
        self._actor.effect(lambda: None)


Change = Callable[[Cutover], None]


def cutover(
    actor: Actor, back: bool = False, change: Change = lambda _: None, kind: type = Cutover
) -> Cutover:
    """A cutover as that process drives it, with the world's clock and no thread."""
    world = actor.world
    sides = ("target", "source") if back else ("source", "target")
    made = kind(
        actor,
        FakeMover(actor, back),
        FakeFence(actor, sides[0]),
        FakeFence(actor, sides[1]),
        actor.report,
        limits=replace(LIMITS),
        back=back,
        clock=lambda: world.now,
        wall=lambda: world.now,
        sleep=actor.sleep,
        owner=actor.owner,
        heartbeat=False,
    )
    change(made)
    return made  # type: ignore[no-any-return]


def attempt(action: Callable[[], Any]) -> str:
    """How it ended: `done`, `dead`, or what it said."""
    try:
        action()
    except Killed:
        return "dead"
    except FearlessError as error:
        return str(error)
    return "done"


class Held:
    """A process in a thread of its own that does one effect each time it is told to."""

    def __init__(self, actor: Actor, action: Callable[[], Any]) -> None:
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._free = False
        self.ended = ""
        self.error: BaseException | None = None
        actor.gate = self._wait
        self._thread = threading.Thread(target=self._run, args=(action,), daemon=True)
        self._thread.start()
        self._back.acquire()

    def _wait(self) -> None:
        if not self._free:
            self._back.release()
            self._go.acquire()

    def _run(self, action: Callable[[], Any]) -> None:
        try:
            self.ended = attempt(action)
        except BaseException as error:  # noqa: BLE001
            self.error, self.ended = error, "broken"
        self._free = True
        self._back.release()

    def steps(self, count: int) -> bool:
        """Let it do so many effects. False when it ended before that."""
        for _ in range(count):
            if self.ended:
                break
            self._go.release()
            self._back.acquire()
        self._raise()
        return not self.ended

    def finish(self) -> str:
        """Let it go on to its end."""
        if not self.ended:
            self._free = True
            self._go.release()
            self._thread.join(30)
        self._raise()
        return self.ended

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error


@contextmanager
def held(actor: Actor, action: Callable[[], Any]) -> Iterator[Held]:
    """A held process that is gone at the end of the block."""
    process = Held(actor, action)
    try:
        yield process
    finally:
        if not process.ended:
            actor.kill = 0
            process._free = True
            process._go.release()
            process._thread.join(30)
