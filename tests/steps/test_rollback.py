"""The rollback: the cutover backwards, with one side writable at every step, or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fearless.errors import FearlessError, Refused
from fearless.interfaces import DataRun, DataState, Stack, Verdict
from fearless.ledger import Ledger
from fearless.procedure import Done
from fearless.status import collect, describe, releases
from fearless.steps import rollback
from fearless.steps.copy import Copy
from fearless.steps.retire import Retire
from fearless.steps.rollback import Rollback
from fearless.steps.sync import Sync
from fearless.steps.way_back import way_back
from fearless.testing.fakes import FakeStore

from .conftest import World
from .test_cutover import Trusting, copied, first_release
from .test_retire import released

ONE_WAY = """
from fearless import Transform, hookimpl

@hookimpl
def transforms():
    return [Transform("shrink", ("orders",), up=lambda item: item{more})]
"""


class Back(Rollback):
    """The gates have their own tests."""

    def _check_gates(self) -> None:
        self.procedure.report.line("gates asked")


def rolling(world: World, sha: str = "", accept: bool = False) -> Back:
    to = rollback.destination(world.project.ledger, sha)
    procedure = rollback.procedure_of(world.project, to, world.report, "doit rollback")
    return Back(procedure, accept)


def roll(world: World, sha: str = "", accept: bool = False) -> Done:
    """As `doit rollback` does it."""
    step = rolling(world, sha, accept)
    try:
        return step.find() or step.make()
    finally:
        step.procedure.lock.release()


@pytest.fixture
def stacks(world: World) -> tuple[Stack, Stack]:
    """Release a was live, b is."""
    old, new = released(world, "b")
    world.store.log.clear()
    world.store.states = {k: v for k, v in world.store.states.items() if k.endswith(" back")}
    return old, new


def run_of(world: World) -> DataRun:
    way = way_back(world.project)
    assert way is not None
    assert way.run is not None
    return way.run


def back_state(world: World, **facts: Any) -> None:
    """Say what the store is to say of the way back."""
    (key,) = [key for key in world.store.states if key.endswith(" back")]
    world.store.states[key] = replace(world.store.states[key], **facts)


def check_back(world: World, old: Stack) -> None:
    ledger = world.project.ledger
    live = ledger.live()
    assert live is not None
    assert (live.stack_id, live.sha) == (old.id, old.sha)
    assert world.store.writers == {old.id}
    assert world.dns.target == f"{old.name}.elb.localhost"
    assert ledger.get("SEAL", "SEAL") is None


def test_the_order_that_loses_nothing(world: World, stacks: tuple[Stack, Stack]) -> None:
    old, new = stacks
    before = world.project.ledger.release(old.sha)
    done = roll(world)
    assert world.store.log == [
        "verify",
        "follow back",
        f"pause {new.name}",
        f"confirm {new.name}",
        "drain back",
        "verify still",
        f"fence {new.name}",
        f"open {old.name}",
    ]
    check_back(world, old)
    assert "writes were paused for" in done.detail
    after = world.project.ledger.release(old.sha)
    assert before is not None
    assert after is not None
    assert after["live_since"] > before["live_since"]
    states = {r["sha"][0]: r["state"] for r in releases(world.project.ledger.releases(), old.sha)}
    assert states == {"a": "live", "b": "rolled-back"}


def test_the_run_is_the_one_of_the_cutover_backwards(
    world: World, stacks: tuple[Stack, Stack]
) -> None:
    run = run_of(world)
    assert run.back
    assert (run.source.id, run.target.id) == (stacks[1].id, stacks[0].id)
    assert [spec.name for spec in run.tables] == ["orders"]


@pytest.mark.parametrize("call", ["pause", "confirm", "drain back", "verify still", "fence"])
def test_a_failure_before_the_old_stack_is_open_undoes_everything(
    world: World, stacks: tuple[Stack, Stack], call: str
) -> None:
    old, new = stacks
    world.store.fail = call
    with pytest.raises(FearlessError, match=f"{call} failed"):
        roll(world)
    assert world.store.writers == {new.id}
    assert world.dns.target == f"{new.name}.elb.localhost"
    world.store.fail = ""
    roll(world)
    check_back(world, old)


def test_a_difference_undoes_everything(world: World, stacks: tuple[Stack, Stack]) -> None:
    world.store.log.append("verify")
    world.store.verdict = Verdict(10, different=("orders s1/o1",))
    with pytest.raises(Refused, match=r"1 items of .* differ from .* orders s1/o1"):
        roll(world)
    assert world.store.writers == {stacks[1].id}


def test_over_budget_it_is_undone(world: World, stacks: tuple[Stack, Stack]) -> None:
    step = rolling(world)
    ticks = iter([0.0, 100.0])
    step.procedure.monotonic = lambda: next(ticks)
    with pytest.raises(FearlessError, match=r"the rollback had taken 100 s of its 20 s"):
        step.make()
    assert world.store.writers == {stacks[1].id}


# ------------------------------------------------------------------ killed


class Killed(BaseException):
    """Nothing of ours catches it."""


def killed(*_: object, **__: object) -> None:
    raise Killed


def kill_at(patch: pytest.MonkeyPatch, world: World, moment: str) -> None:
    """The process dies right before this is done; nothing of it is undone, either."""
    patch.setattr(Rollback, "_undo", lambda *_: None)
    if moment == "pointer":
        patch.setattr(Ledger, "go_live", killed)
    elif moment == "dns":
        patch.setattr(world.dns, "point", killed)
    elif moment == "records":
        patch.setattr(Ledger, "amend", killed)
    else:
        patch.setattr(world.store, moment, killed)


MOMENTS = ["confirm_fence", "drain", "pointer", "records", "open", "dns"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_the_same_command_finishes_it(
    world: World, stacks: tuple[Stack, Stack], moment: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, world, moment)
        with pytest.raises(Killed):
            roll(world)
    assert len(world.store.writers) <= 1
    world.store.log.clear()
    roll(world)
    check_back(world, stacks[0])
    decided = moment in MOMENTS[2:]
    assert ("drain back" in world.store.log) is not decided
    assert "rolled back already" in roll(world).detail


def test_killed_while_sealed_another_change_undoes_it(
    world: World, stacks: tuple[Stack, Stack]
) -> None:
    """What is then written is carried back by the next one: a seal is worth nothing any more."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, world, "pointer")
        with pytest.raises(Killed):
            roll(world)
    assert world.store.writers == set()
    other = world.procedure("c")
    other.change()
    other.lock.release()
    assert world.store.writers == {stacks[1].id}
    world.store.log.clear()
    roll(world)
    assert "drain back" in world.store.log
    check_back(world, stacks[0])


@pytest.mark.parametrize("letter", ["a", "c"])
def test_a_cutover_does_not_finish_a_rollback(
    world: World, stacks: tuple[Stack, Stack], letter: str
) -> None:
    world.stack(letter)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, world, "dns")
        with pytest.raises(Killed):
            roll(world)
    procedure = world.procedure(letter)
    with pytest.raises(Refused, match="was interrupted: finish it with `doit rollback`"):
        Trusting(procedure).make()
    procedure.lock.release()
    roll(world)
    check_back(world, stacks[0])


def test_a_release_is_refused_at_once_and_not_at_its_cutover(
    world: World, stacks: tuple[Stack, Stack]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, world, "open")
        with pytest.raises(Killed):
            roll(world)
    other = world.procedure("c")
    with pytest.raises(Refused, match="was interrupted: finish it with `doit rollback`"):
        other.change()
    other.lock.release()
    assert world.store.writers == set()
    roll(world)
    check_back(world, stacks[0])


# ------------------------------------------------------------------ afterwards


def test_what_was_rolled_back_is_not_filled_again(
    world: World, stacks: tuple[Stack, Stack]
) -> None:
    roll(world)
    with pytest.raises(Refused, match=r"was live before .* its data is behind"):
        Copy(world.procedure("b")).find()


def test_a_new_commit_is_released_and_can_be_rolled_back(
    world: World, stacks: tuple[Stack, Stack]
) -> None:
    roll(world)
    third = copied(world, "c")
    procedure = world.procedure("c")
    Trusting(procedure).make()
    procedure.lock.release()
    assert world.store.writers == {third.id}
    roll(world)
    check_back(world, stacks[0])


def test_twice_is_once_and_further_back_needs_a_name(
    world: World, stacks: tuple[Stack, Stack]
) -> None:
    world.settings(keep=3)
    third = copied(world, "c")
    procedure = world.procedure("c")
    Trusting(procedure).make()
    procedure.lock.release()
    roll(world)
    check_back(world, stacks[1])
    world.store.log.clear()
    assert "To go back further, name the release" in roll(world).detail
    assert world.store.log == []
    assert third.id not in world.store.writers
    roll(world, sha="a" * 7)
    check_back(world, stacks[0])


def test_retire_keeps_what_is_live_again(world: World, stacks: tuple[Stack, Stack]) -> None:
    roll(world)
    world.settings(keep=0)
    Retire(world.procedure("a")).make()
    assert world.provisioner.deleted == [stacks[1].id]
    assert stacks[0].name in world.provisioner.stacks


# ------------------------------------------------------------------ refusals


def test_nothing_live(world: World) -> None:
    with pytest.raises(Refused, match="nothing is live"):
        rolling(world)


def test_nothing_before(world: World) -> None:
    first_release(world)
    with pytest.raises(Refused, match=r"nothing was live before"):
        rolling(world)


def test_a_release_that_was_not_live_right_before(
    world: World, stacks: tuple[Stack, Stack]
) -> None:
    with pytest.raises(Refused, match=r"cccc was not live right before b+: that was a+ \("):
        rolling(world, sha="cccc")


def test_a_stack_that_was_retired(world: World, stacks: tuple[Stack, Stack]) -> None:
    world.provisioner.delete(stacks[0], world.report)
    with pytest.raises(Refused, match=r"was retired: its data is gone.*git revert"):
        roll(world)


def test_a_stack_that_may_be_written(world: World, stacks: tuple[Stack, Stack]) -> None:
    world.store.writers.add(stacks[0].id)
    with pytest.raises(Refused, match="may write it, so its data is its own now"):
        roll(world)


def test_a_record_changed_by_hand(world: World, stacks: tuple[Stack, Stack]) -> None:
    world.dns.target = "elsewhere.example.com"
    with pytest.raises(Refused, match=r"points at elsewhere.example.com, not at the live stack"):
        roll(world)
    assert world.store.log == []


def test_what_down_cannot_carry(world: World, stacks: tuple[Stack, Stack]) -> None:
    key = {"store_id": {"S": "s1"}, "object_id": {"S": "o1"}}
    row = {"table": "orders", "key": key, "transform": "t", "error": "KeyError", "message": "x"}
    world.store.held.append({**row, "where": "t.py:1"})
    with pytest.raises(Refused, match=r"1 items could not be migrated.*s1/o1 in t: KeyError"):
        roll(world)
    assert world.store.writers == {stacks[1].id}


# ------------------------------------------------------------------ without a way back

WRITTEN = [
    {"table": "orders", "at": 5.0, "old": None, "new": {"id": {"S": "1"}, "b": {"B": b"\x00"}}},
    {"table": "orders", "at": 6.0, "old": {"id": {"S": "1"}}, "new": None},
]


@pytest.fixture
def cut(world: World, stacks: tuple[Stack, Stack]) -> tuple[Stack, Stack]:
    """The stream of the way back has a gap."""
    back_state(world, phase="broken", reason="24 hours passed")
    world.store.written = list(WRITTEN)
    return stacks


def test_it_says_what_would_be_lost(world: World, cut: tuple[Stack, Stack]) -> None:
    with pytest.raises(Refused) as refused:
        roll(world)
    told = str(refused.value)
    assert "24 hours passed" in told
    assert "would lose 2 writes since 2" in told
    assert "`doit rollback accept_data_loss=1`" in told
    assert world.store.writers == {cut[1].id}


def test_what_is_lost_is_in_a_file_first(world: World, cut: tuple[Stack, Stack]) -> None:
    old, new = cut
    roll(world, accept=True)
    check_back(world, old)
    assert world.store.log == [
        f"pause {new.name}",
        f"confirm {new.name}",
        "writes",
        f"fence {new.name}",
        f"open {old.name}",
    ]
    (path,) = (world.root / ".fearless").glob("lost-*.jsonl")
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first["new"] == {"id": {"S": "1"}, "b": {"B": "AA=="}}
    assert second["new"] is None
    events = world.project.ledger.events()
    assert f"without 2 writes, see {path}" in events[-1]["message"]


def test_what_cannot_be_listed_is_said(world: World, cut: tuple[Stack, Stack]) -> None:
    world.store.written.append({"table": "orders", "missing": "older changes"})
    with pytest.raises(Refused, match="would lose at least 2 writes since 2"):
        roll(world)
    roll(world, accept=True)
    (path,) = (world.root / ".fearless").glob("lost-*.jsonl")
    assert json.loads(path.read_text().splitlines()[-1])["missing"] == "older changes"
    events = world.project.ledger.events()
    assert f"without at least 2 writes, see {path}" in events[-1]["message"]


def test_a_list_that_fails_undoes_everything(world: World, cut: tuple[Stack, Stack]) -> None:
    world.store.fail = "writes"
    with pytest.raises(FearlessError, match="writes failed"):
        roll(world, accept=True)
    assert world.store.writers == {cut[1].id}


class Mute(FakeStore):
    """Knows no list of writes."""

    writes = None  # type: ignore[assignment]


def test_a_store_that_cannot_list(world: World, cut: tuple[Stack, Stack]) -> None:
    world.store = Mute(**vars(world.store))
    world.settings()
    with pytest.raises(Refused, match="cannot list it either, so there is no rollback"):
        roll(world, accept=True)


def plugin(world: World, more: str) -> None:
    folder = world.root / "plugins"
    folder.mkdir(exist_ok=True)
    (folder / "transforms.py").write_text(ONE_WAY.format(more=more))
    world.settings()


def test_a_transform_without_down_is_not_released_by_mistake(world: World) -> None:
    first_release(world)
    plugin(world, "")
    world.stack("b")
    procedure = world.procedure("b")
    with pytest.raises(Refused, match=r"'shrink' has no `down`.* Write its `down`, or declare"):
        Copy(procedure).make()
    procedure.lock.release()
    assert "copy" not in world.store.log


def test_declared_it_is_released_and_said(world: World) -> None:
    first_release(world)
    plugin(world, ', irreversible="it forgets"')
    copied(world, "b")
    procedure = world.procedure("b")
    Trusting(procedure).make()
    procedure.lock.release()
    assert "there will be no way back: shrink: it forgets" in world.report.lines
    with pytest.raises(Refused, match=r"shrink: it forgets\. A rollback would lose 0 writes"):
        roll(world)


LOSSY = "3 items would not be what they were after going there and back"


@pytest.mark.parametrize("declared", [False, True])
def test_items_that_do_not_come_back_as_they_were(world: World, declared: bool) -> None:
    old = first_release(world)
    plugin(world, ", down=lambda item, old: item" + ", irreversible='rounded'" * declared)
    new = copied(world, "b")
    (key,) = world.store.states
    world.store.states[key] = replace(world.store.states[key], one_way=LOSSY)
    procedure = world.procedure("b")
    if declared:
        Trusting(procedure).make()
        assert world.store.writers == {new.id}
        assert f"{LOSSY}, as declared: shrink: rounded" in world.report.lines
    else:
        with pytest.raises(Refused, match=r"3 items would not be .* Correct `down`, or declare"):
            Trusting(procedure).make()
        assert world.store.writers == {old.id}
        assert not any(call.startswith("pause") for call in world.store.log)


# ------------------------------------------------------------------ meanwhile


def test_sync_carries_back_when_it_is_asked_for(world: World, stacks: tuple[Stack, Stack]) -> None:
    procedure = world.procedure("b")
    assert Sync(procedure).find() is not None, "`doit release` has nothing to do"
    step = Sync(procedure, asked=True)
    assert step.find() is None
    assert step.name == "sync back"
    assert f"3 changes carried back to {stacks[0].name}, lag 0.1 s" in step.make().detail
    assert world.store.log == ["follow back", f"late {stacks[0].name} {stacks[1].name}"]


def test_sync_of_a_way_back_that_is_cut(world: World, cut: tuple[Stack, Stack]) -> None:
    with pytest.raises(FearlessError, match=r"the way back to .* is cut: 24 hours passed"):
        Sync(world.procedure("b"), asked=True).make()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"lag": 3.2}, "the way back is 3 s behind"),
        ({"lag": None}, "the way back is 0 s behind"),
        ({"lag": 13 * 3600.0}, "46800 s behind; `doit sync` keeps it open"),
        ({"lag": 25 * 3600.0}, "NONE: nothing was carried back for 25 hours, and streams keep 24"),
        ({"phase": "broken", "reason": "24 hours passed"}, "NONE: 24 hours passed"),
        ({"phase": "none"}, "NONE: it was never fixed"),
    ],
)
def test_status_says_how_far_behind_it_is(
    world: World,
    stacks: tuple[Stack, Stack],
    facts: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    back_state(world, **facts)
    procedure = world.procedure("b")
    live = procedure.ledger.live()
    assert live is not None
    monkeypatch.setattr(procedure.ledger, "clock", lambda: live.since)
    status = collect(procedure, lambda _: world.project)
    assert status["live"]["way_back"]["stack"] == stacks[0].name
    assert said in describe(status)


def test_status_survives_a_commit_git_does_not_know(
    world: World, stacks: tuple[Stack, Stack]
) -> None:
    def unknown(sha: str) -> Any:
        raise FearlessError("git does not know it")

    at: Callable[[str], Any] = unknown
    status = collect(world.procedure("b"), at)
    assert "NONE: git does not know it" in describe(status)


def test_suspects_are_waited_for_before_anything_is_paused(
    world: World, stacks: tuple[Stack, Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([DataState("replay", suspects=2, suspects_due=1.8e9), DataState("replay")])
    monkeypatch.setattr(world.store, "follow", lambda *_: next(answers))
    roll(world)
    assert any(
        "2 items that a worker which died may still write, until 2027" in note
        for note in world.report.notes
    )
    check_back(world, stacks[0])
