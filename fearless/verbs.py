"""What can be asked beside the procedure: look, go back, delete, waive. Each prints one answer."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fearless import names
from fearless.errors import ConfigError, FearlessError
from fearless.plugins import SLOTS
from fearless.procedure import Done, Procedure, Step

if TYPE_CHECKING:
    from fearless.graph import Runbook


class Verbs:
    """The tasks that are no steps, on what the runbook knows of the command line."""

    def __init__(self, runbook: Runbook) -> None:
        self._runbook = runbook

    # ------------------------------------------------------------------ looking

    def status(self) -> None:
        """What is live, what is a candidate, who holds the lock."""
        from fearless.status import collect, describe, empty

        runbook = self._runbook
        runbook.project.check()
        running = runbook.project.cloud.running()
        if running:
            status = collect(self._looking(), runbook.project.export)
        else:
            status = empty(runbook.project, running)
        runbook.show(status, describe(status))

    def releases(self) -> None:
        """The history of releases."""
        from fearless.status import describe_releases, releases

        self._need_cloud()
        procedure = self._looking()
        live = procedure.live()
        entries = releases(procedure.ledger.releases(), live.sha if live else None)
        self._runbook.show(entries, describe_releases(entries))

    def plan(self, steps: Mapping[str, Callable[[Procedure], Step]]) -> None:
        """What `doit release` would do, and whether it could. Changes nothing."""
        from fearless.steps.plan import collect, describe, nothing

        runbook = self._runbook
        runbook.project.check()
        if runbook.project.cloud.running():
            procedure = runbook.procedure_of(runbook.release, look=True)
            found = [(name, _bound(make, procedure)) for name, make in steps.items()]
            document = collect(procedure, found)
        else:
            document = nothing(runbook.project, runbook.release, steps)
        runbook.show(document, describe(document))

    def plugins(self) -> None:
        """What is loaded, and what each slot can use."""
        plugins = self._runbook.project.plugins
        offers = {
            slot: {name: offer.origin for name, offer in plugins.offers(slot).items()}
            for slot in SLOTS
        }
        lines = [f"  {origin}" for origin in plugins.origins()]
        lines += [f"  [{slot}] {', '.join(sorted(names))}" for slot, names in offers.items()]
        self._runbook.show({"plugins": plugins.origins(), "slots": offers}, "\n".join(lines))

    def images(self) -> None:
        """Every container image, with what uses it."""
        from fearless.images import listing

        self._need_cloud()
        done = listing(self._looking())
        self._runbook.show(done.data, done.detail)

    # ------------------------------------------------------------------ going back

    def rollback(self) -> None:
        """Back to what was live before, with everything written since."""
        from fearless.steps import rollback

        runbook = self._runbook
        self._need_cloud()
        ledger, accept = runbook.project.ledger, runbook.variables["accept_data_loss"] == "1"
        live, to = ledger.live(), rollback.destination(ledger, self._sha())
        assert live is not None
        project = runbook.project
        begun = rollback.last(ledger)
        if begun is None:
            project = project.export(live.sha)
        procedure = rollback.procedure_of(project, to, runbook.report, runbook.doing)
        atexit.register(procedure.lock.release)
        runbook.say(f"{project.app.name} {to.release}, commit {to.sha}")
        step = rollback.Rollback(procedure, accept)
        done = step.find()
        if done is None and runbook.dry:
            runbook.say(f"  rollback         would go back from {live.release} to {to.release}")
            return
        if done is None:
            record = procedure.perform(step)
            done = Done(f"{record.detail}  ({record.seconds:.1f} s)", record.data)
        document = {"release": to.release, "sha": to.sha, "stack": to.stack, **done.data}
        runbook.show(document, f"  rollback         {done.detail}")

    def quarantine(self) -> None:
        """What could not be migrated; try again, or leave one out."""
        from fearless.steps import waiver

        runbook, variables = self._runbook, self._runbook.variables
        self._need_cloud()
        procedure = runbook.procedure_of(runbook.release, look=True)
        done = waiver.quarantine(
            procedure, variables["waive"], variables["reason"], variables["retry"] == "1"
        )
        runbook.show(done.data, f"  quarantine       {done.detail}")

    # ------------------------------------------------------------------ deleting

    def drop(self) -> None:
        """Delete a branch's dev stack, or a candidate."""
        runbook = self._runbook
        branch, sha = runbook.variables["branch"], runbook.variables["sha"]
        if bool(branch) == bool(sha):
            raise ConfigError(
                f"drop needs {'one of the two' if sha else 'a branch or a commit'}: `doit drop "
                "branch=NAME` deletes a dev stack, `doit drop sha=SHA` a candidate"
            )
        runbook.project.check()
        if runbook.dry and not runbook.project.cloud.running():
            runbook.say(
                "  drop             the cloud does not answer, so there is nothing to delete"
            )
            return
        procedure = self._dev_to_drop(branch) if branch else runbook.procedure
        name = procedure.release.stack_name
        if runbook.dry:
            there = runbook.project.provisioner.find(name) is not None
            would = f"would delete {name}" if there else f"there is no stack {name}"
            runbook.say(f"  drop             {would}")
            return
        if sys.stdin.isatty() and not runbook.yes and not runbook.json:
            answer = input(f"Delete {name} with all its data? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                runbook.say("  nothing was deleted")
                return
        done = self._dropped(procedure)
        runbook.show({**done.data}, f"  drop             {done.detail}")

    def image_reap(self) -> None:
        """Delete the images that nothing uses; without yes=1, only say which."""
        from fearless.images import DAYS, KEEP, reap

        runbook = self._runbook
        keep, days = self._number("keep", KEEP), self._number("days", DAYS)
        self._need_cloud()
        procedure = Procedure(runbook.project, runbook.release, runbook.report, runbook.doing)
        atexit.register(procedure.lock.release)
        done = reap(procedure, int(keep), days, act=runbook.yes and not runbook.dry)
        runbook.show(done.data, done.detail)

    def _dropped(self, procedure: Procedure) -> Done:
        if procedure.release.kind == "dev":
            from fearless import devstack

            return devstack.drop(procedure)
        from fearless import candidate

        return candidate.drop(procedure)

    def _dev_to_drop(self, branch: str) -> Procedure:
        """The dev procedure, also of a branch that git has forgotten."""
        runbook, project = self._runbook, self._runbook.project
        if not runbook.dry:
            project.cloud.ensure(runbook.report)
        release = project.named(names.devstack(project.app.name, branch, "0" * 40, ""))
        procedure = Procedure(project, release, runbook.report, f"doit drop branch={branch}")
        atexit.register(procedure.lock.release)
        return procedure

    # ------------------------------------------------------------------ parts

    def _looking(self) -> Procedure:
        runbook = self._runbook
        return Procedure(runbook.project, runbook.release, runbook.report, "")

    def _need_cloud(self) -> None:
        self._runbook.project.check()
        if not self._runbook.project.cloud.running():
            raise FearlessError("the cloud does not answer; start it with `fearless local up`")

    def _number(self, name: str, default: float) -> float:
        """A variable that is a whole number, 0 or more."""
        given = self._runbook.variables[name]
        if given and not given.isdecimal():
            raise ConfigError(f"{name}={given}: {name} is a whole number, 0 or more")
        return float(given or default)

    def _sha(self) -> str:
        """What sha= says: the commit it names, or its own digits when git does not know it."""
        given = self._runbook.variables["sha"]
        if not given:
            return ""
        try:
            return self._runbook.project.git.commit(given)[0]
        except FearlessError:
            return given


def _bound(make: Callable[[Procedure], Step], procedure: Procedure) -> Callable[[], Step]:
    return lambda: make(procedure)
