"""The engine of one machine: units in processes that die, hang, print and fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fearless.builtin.engines.hands import Staff
from fearless.builtin.engines.processes import ProcessCrew, Processes
from fearless.data.pipe import Keys
from fearless.data.unit import Unit
from fearless.errors import ConfigError, FearlessError, Refused
from fearless.testing.fakes import SilentReport
from tests.builtin.engines.stub import HIRE, a_job, lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
TWO = Staff(processes=2, threads=2, silence=10, grace=10)
WATCHFUL = replace(TWO, silence=1.5)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def a_crew(log: Path, staff: Staff = TWO, report: SilentReport | None = None) -> ProcessCrew:
    return ProcessCrew(a_job(log), report or SilentReport(), staff, HIRE)


def units(kind: str, count: int, seconds: float = 30.0) -> list[Unit]:
    return [Unit("copy", kind, str(number), seconds) for number in range(count)]


def noted(log: Path, word: str, *rest: str) -> list[list[str]]:
    return [line for line in lines(log) if line[1] == word and line[2 : 2 + len(rest)] == [*rest]]


def until(
    condition: Callable[[], object],
    crew: ProcessCrew,
    offered: Sequence[Unit] = (),
    most: float = 20,
) -> None:
    deadline = time.monotonic() + most
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        crew.offer(offered)
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_every_unit_is_performed_in_several_processes(log: Path) -> None:
    offered = units("slow", 8, 0.1)
    with a_crew(log) as crew:
        crew.offer(offered)
        until(lambda: len(noted(log, "end", "slow")) >= 8, crew)
        pids = crew.pids
    begun = noted(log, "begin")
    assert sorted(line[3] for line in begun) == [str(n) for n in range(8)]
    assert {int(line[0]) for line in begun} == set(pids)
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert not any(alive(pid) for pid in pids)
    assert len(noted(log, "leave")) == 2


def test_what_is_in_hand_is_not_begun_again(log: Path) -> None:
    offered = units("slow", 2, 0.5)
    with a_crew(log) as crew:
        for _ in range(5):
            crew.offer(offered)
        until(lambda: len(noted(log, "end")) >= 2, crew, offered=offered)
    for unit in offered:
        said = [
            line[1] for line in lines(log) if line[1] in ("begin", "end") and line[3] == unit.part
        ]
        assert said == (["begin", "end"] * len(said))[: len(said)], (
            "it ends before it is begun again"
        )


def test_never_more_processes_than_units(log: Path) -> None:
    with a_crew(log, replace(TWO, processes=8)) as crew:
        crew.offer(units("slow", 3, 0.2))
        until(lambda: len(noted(log, "end")) == 3, crew)
        assert len(crew.pids) == 3


def test_small_work_hires_nobody(log: Path) -> None:
    with a_crew(log, replace(TWO, patience=5.0)) as crew:
        crew.offer(units("quick", 50))
        until(lambda: len(noted(log, "end")) == 50, crew)
        assert crew.pids == []
    assert {int(line[0]) for line in lines(log)} == {os.getpid()}


def test_large_work_goes_to_processes_after_a_moment(log: Path) -> None:
    with a_crew(log, replace(TWO, patience=0.3)) as crew:
        crew.offer(units("slow", 30, 0.1))
        until(lambda: len(noted(log, "end")) == 30, crew)
        assert len(crew.pids) == 2
    assert len({line[0] for line in noted(log, "end")}) == 3


def test_no_processes_at_all(log: Path) -> None:
    with a_crew(log, Staff(0, threads=3)) as crew:
        crew.offer(units("slow", 6, 0.2))
        until(lambda: len(noted(log, "end")) == 6, crew)
    assert {int(line[0]) for line in lines(log)} == {os.getpid()}
    assert len(noted(log, "leave")) == 1


def test_a_killed_one_is_replaced_and_its_units_are_done(log: Path) -> None:
    offered = units("slow", 6, 0.4)
    with a_crew(log) as crew:
        crew.offer(offered)
        until(lambda: len(noted(log, "begin")) >= 4, crew)
        killed = crew.pids[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: {line[3] for line in noted(log, "end")} == set("012345"), crew)
        assert killed not in crew.pids
        assert len(crew.pids) == 2


def test_a_stopped_one_is_killed_and_its_units_are_done(log: Path) -> None:
    offered = units("slow", 4, 0.5)
    with a_crew(log, WATCHFUL) as crew:
        crew.offer(offered)
        until(lambda: len(noted(log, "begin")) == 4, crew)
        stopped = crew.pids[0]
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: {line[3] for line in noted(log, "end")} == set("0123"), crew)
        assert not alive(stopped)


def test_leaving_does_not_wait_for_a_stopped_one(log: Path) -> None:
    with a_crew(log, WATCHFUL) as crew:
        crew.offer(units("slow", 4))
        until(lambda: len(noted(log, "begin")) == 4, crew)
        stopped, other = crew.pids
        os.kill(stopped, signal.SIGSTOP)
        since = time.monotonic()
    assert time.monotonic() - since < 6
    assert not alive(stopped)
    assert not alive(other)
    assert [line[0] for line in noted(log, "leave")] == [str(other)]


def test_leaving_ends_units_in_hand(log: Path) -> None:
    since = time.monotonic()
    with a_crew(log) as crew:
        crew.offer(units("slow", 20))
        until(lambda: len(noted(log, "begin")) == 4, crew)
    assert time.monotonic() - since < 10
    assert [line[4] for line in noted(log, "end")] == ["False"] * 4
    assert len(noted(log, "leave")) == 2


def test_who_does_not_listen_is_killed(log: Path) -> None:
    with a_crew(log, replace(TWO, grace=0.5)) as crew:
        crew.offer(units("deaf", 1, 100))
        until(lambda: noted(log, "begin"), crew)
        (pid,) = crew.pids
        since = time.monotonic()
    assert time.monotonic() - since < 5
    assert not alive(pid)


def test_one_told_to_end_by_a_signal_ends_well_and_is_replaced(log: Path) -> None:
    offered = units("slow", 2, 0.6)
    with a_crew(log, replace(TWO, processes=1)) as crew:
        crew.offer(offered)
        until(lambda: len(noted(log, "begin")) == 2, crew)
        (pid,) = crew.pids
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        until(lambda: len(noted(log, "end", "slow")) == 4, crew, offered)
        assert str(pid) in [line[0] for line in noted(log, "leave")]
        assert crew.pids != [pid]


def test_what_a_unit_fails_with_is_raised(log: Path) -> None:
    with a_crew(log) as crew, pytest.raises(Refused, match=r"^refused: table orders is not ours$"):
        crew.offer([*units("refused", 1), *units("quick", 1)])
        until(lambda: False, crew)
    with a_crew(log) as crew, pytest.raises(FearlessError, match=r"ZeroDivisionError.*stub\.py:"):
        crew.offer(units("defect", 1))
        until(lambda: False, crew)


def test_who_cannot_join_says_why(log: Path) -> None:
    for staff in (TWO, Staff(0)):
        with (
            ProcessCrew(a_job(log, "broken"), SilentReport(), staff, HIRE) as crew,
            pytest.raises(Refused, match="nobody can join"),
        ):
            until(lambda: False, crew, units("quick", 2))
    with (
        ProcessCrew(a_job(log), SilentReport(), TWO, "tests.nowhere:hire") as crew,
        pytest.raises(FearlessError, match=r"ModuleNotFoundError.*tests\.nowhere"),
    ):
        until(lambda: False, crew, units("quick", 2))


def test_a_unit_that_kills_is_named_and_no_other_is_blamed(log: Path) -> None:
    innocent = units("slow", 5, 0.3)
    with a_crew(log, replace(TWO, processes=1, threads=4)) as crew:
        with pytest.raises(FearlessError, match=r"deadly, part 0.*killed by signal 9, 3 times"):
            until(lambda: False, crew, [*innocent, *units("deadly", 1)])
        until(lambda: {line[3] for line in noted(log, "end", "slow")} == set("01234"), crew)
    assert len(noted(log, "begin", "deadly")) == 3


def test_a_worker_given_up_for_dead_joins_anew(log: Path) -> None:
    for staff in (replace(TWO, processes=1), Staff(0)):
        log.write_text("")
        with a_crew(log, staff) as crew:
            until(lambda: noted(log, "end", "lost"), crew, units("lost", 1))
        assert len(noted(log, "join")) == 2


def test_what_transforms_print_is_reported_and_harms_nobody(log: Path) -> None:
    report = SilentReport()
    with a_crew(log, report=report) as crew:
        crew.offer(units("prints", 1))
        until(lambda: noted(log, "end") and len(report.lines) == 2, crew)
    assert sorted(report.lines) == ["worker: a line on stdout", "worker: raw bytes"]


def test_keys_go_by_pipe_and_are_renewed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fearless.builtin.engines.processes.RENEWAL", 0.1)
    keys = Keys("AKIA", "very secret", "one")
    job = replace(a_job(log), credentials={"source": keys})
    with ProcessCrew(job, SilentReport(), replace(TWO, processes=1), HIRE) as crew:
        until(lambda: noted(log, "key", "one"), crew, units("key", 1))
        (pid,) = crew.pids
        for shown in ("cmdline", "environ"):
            assert b"very secret" not in Path(f"/proc/{pid}/{shown}").read_bytes()
        keys.renew("AKIA", "other secret", "two")
        until(lambda: noted(log, "key", "two"), crew, units("key", 1))
    assert "secret" not in repr(job) + job.to_json()


PARENT = """
import sys, time
from pathlib import Path
from fearless.testing.fakes import SilentReport
from tests.builtin.engines.test_processes import TWO, a_crew, units
with a_crew(Path(sys.argv[1])) as crew:
    crew.offer(units("slow", 4) + units("prints", 1))
    while True:
        crew.offer([])
        time.sleep(0.05)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nobody_outlives_whoever_hired_them(log: Path, end: signal.Signals) -> None:
    root = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not log.exists() or len(noted(log, "begin")) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pids = {int(line[0]) for line in lines(log)}
        parent.send_signal(end)
        parent.wait(10)
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        parent.kill()
    assert len(noted(log, "leave")) == 2
    assert [line[4] for line in noted(log, "end", "slow")] == ["False"] * 4


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match=r"processes = -1: it must be at least 0"):
        Processes(processes=-1)
    with pytest.raises(ConfigError, match=r"threads = 0: it must be at least 1"):
        Processes(threads=0)


def test_the_first_unit_is_begun_soon(log: Path) -> None:
    with a_crew(log, replace(TWO, processes=1)) as crew:
        since = time.monotonic()
        crew.offer(units("quick", 1))
        until(lambda: noted(log, "begin"), crew)
        took = time.monotonic() - since
    assert took < 2, f"{took:.2f} s"
    print(f"first unit after {took * 1000:.0f} ms")
