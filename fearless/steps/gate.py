"""Test, test, test: every gate looks at the candidate and says one line, or no."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fearless import http
from fearless.errors import ConfigError, FearlessError, GateFailed
from fearless.interfaces import Candidate, Gate, Release
from fearless.procedure import Done, Procedure
from fearless.project import Project


def gates(procedure: Procedure) -> list[Gate]:
    """Every gate in the order they are asked: built-in ones around the plugins'."""
    from fearless.builtin.gates import shows_sha, targets_healthy

    project = procedure.project
    first = [
        targets_healthy(
            project.cloud, timeout=project.config.gates.timeout, report=procedure.report
        )
    ]
    if project.app.release:
        first.append(shows_sha(project.app.release))
    last = [data_gate(procedure), lag_gate(procedure)]
    return [*first, *plugin_gates(project, procedure.release), *last]


def gate_names(project: Project, release: Release) -> list[str]:
    """The names of `gates`, without making any provider."""
    first = ["targets", "release"] if project.app.release else ["targets"]
    return [*first, *(gate.name for gate in plugin_gates(project, release)), "data", "lag"]


def plugin_gates(project: Project, release: Release) -> list[Gate]:
    """The plugins' gates. A name given twice, or one of Fearless's own, is a ConfigError."""
    origins = dict.fromkeys(("targets", "release", "data", "lag"), "Fearless")
    found = []
    for answer, origin in project.plugins.ask("gates", release=release):
        for gate in answer:
            if gate.name in origins:
                raise ConfigError(
                    f"{origin}: gate {gate.name!r} is already given by {origins[gate.name]}; "
                    "rename it"
                )
            origins[gate.name] = origin
            found.append(gate)
    return found


class GateStep:
    """One gate as a step. Never up to date before the release is live: it is asked again."""

    def __init__(self, procedure: Procedure, gate: str) -> None:
        self.procedure = procedure
        self.gate = gate
        self.name = f"gate:{gate}"

    def find(self) -> Done | None:
        """A live release has passed its gates, and so has one whose cutover only has to end."""
        return self.procedure.settled()

    def make(self) -> Done:
        """Ask the gate."""
        subject = candidate(self.procedure)
        for gate in gates(self.procedure):
            if gate.name == self.gate:
                done = ask(gate, subject)
                passed = {
                    "gate": gate.name,
                    "sha": self.procedure.release.sha,
                    "at": self.procedure.ledger.clock(),
                    "evidence": done.detail,
                }
                self.procedure.ledger.put(f"GATES#{subject.stack.id}", gate.name, passed)
                return done
        return Done(f"{self.procedure.release.short} has no gate {self.gate!r}", {})


def candidate(procedure: Procedure) -> Candidate:
    """The candidate as gates see it: asked at its own URL, before DNS knows it."""
    stack = procedure.need_stack()
    base = procedure.url(stack)

    def get(path: str) -> tuple[int, bytes]:
        return _retrying(lambda: http.get(base + path))

    def post(path: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        return http.post(base + path, dict(body))

    return Candidate(procedure.release, stack, base, get, post)


def ask(gate: Gate, subject: Candidate) -> Done:
    """Ask one gate; whatever it raises is a refusal with its name and reason."""
    try:
        evidence = gate.check(subject)
    except GateFailed as failed:
        raise GateFailed(f"gate {gate.name}: {failed.args[0]}") from None
    except FearlessError:
        raise
    except Exception as error:
        raise GateFailed(
            f"gate {gate.name}: its check raised {type(error).__name__}: {error}"
        ) from error
    return Done(evidence, {"gate": gate.name, "evidence": evidence})


def data_gate(procedure: Procedure) -> Gate:
    """`data`: the candidate's tables hold exactly what the transforms make of production's."""

    def check(_: Candidate) -> str:
        run = procedure.data_run()
        if run is None:
            return "no production data to compare with"
        state = procedure.project.store.state(run)
        if state.quarantined:
            raise GateFailed(quarantine(procedure.project.store.quarantine(run)))
        verdict = procedure.project.store.verify(run, procedure.report)
        if not verdict.clean:
            shown = (*verdict.missing, *verdict.extra, *verdict.different)[:3]
            raise GateFailed(
                f"{len(verdict.missing)} items missing, {len(verdict.extra)} extra, "
                f"{len(verdict.different)} different: {', '.join(shown)}; run `doit sync`, and "
                "look for a transform that is not pure or a writer beside the application"
            )
        return f"{verdict.compared:,} items equal T(production)"

    return Gate("data", check)


def quarantine(rows: Sequence[Mapping[str, Any]]) -> str:
    """What could not be migrated, for people: how many, and the first three with the reason."""
    shown = "; ".join(
        f"{_plain(row['key'])} in {row['transform']}: "
        f"{row['error']}: {row['message']} ({row['where']})"
        for row in rows[:3]
    )
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return (
        f"{len(rows)} items could not be migrated and are kept aside: {shown}{more}. Mend the "
        "transform and commit: the new release copies again"
    )


def lag_gate(procedure: Procedure) -> Gate:
    """`lag`: the candidate is no more than `[gates] max_lag` seconds behind production."""

    def check(_: Candidate) -> str:
        run = procedure.data_run()
        if run is None:
            return "no production to follow"
        state = procedure.project.store.follow(run, procedure.report)
        limit = procedure.project.config.gates.max_lag
        if state.phase != "replay" or state.lag is None or state.lag > limit:
            raise GateFailed(
                f"lag is {state.lag} s, the limit is {limit:g} s ([gates] max_lag) {state.reason}"
            )
        return f"{state.lag:.1f} s behind production"

    return Gate("lag", check)


def _plain(key: Mapping[str, Mapping[str, Any]]) -> str:
    return "/".join(str(raw) for value in key.values() for raw in value.values())


def _retrying(call: Callable[[], tuple[int, bytes]], attempts: int = 3) -> tuple[int, bytes]:
    for attempt in range(attempts):
        try:
            return call()
        except OSError:
            if attempt == attempts - 1:
                raise
            time.sleep(0.2)
    raise AssertionError
