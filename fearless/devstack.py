"""A developer's stack: the same templates and data for a branch, redeployed by swapping the image.

What is to come has its place: masking is a transform of the data run, expiry a fact of the
`DEV` row, the SSM deploy another deployer.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, ClassVar

from fearless.errors import FearlessError, Refused
from fearless.interfaces import Release, Stack
from fearless.procedure import Done, Procedure, Step
from fearless.steps.ami import Ami
from fearless.steps.copy import NOTHING, Copy
from fearless.steps.gate import ask, candidate
from fearless.steps.image import ContainerImage
from fearless.steps.stack import ReleaseStack


class DevImage(ContainerImage):
    """The branch's image. From here on the ledger knows of the stack, so that drop finds it all."""

    def make(self) -> Done:
        """Remember the branch and its SHA, then build."""
        remember(self.procedure)
        return super().make()


class DevAmi(Ami):
    """The machine image a dev stack boots from; only its first deploy needs one."""

    def find(self) -> Done | None:
        """Nothing to bake when the stack is there: its container is swapped instead."""
        if self.procedure.stack() is not None:
            return Done("not needed: the container is swapped")
        return super().find()


class DevData(Copy):
    """A full, migrated copy of production's data, taken once, when the stack is made."""

    name: ClassVar[str] = "data"

    def find(self) -> Done | None:
        """The copy this very stack was given."""
        stack = self.procedure.stack()
        row = record(self.procedure)
        if stack is None or row.get("data") != stack.id or not self.procedure.writable(stack):
            return None
        return Done("production's data is there", {})

    def make(self) -> Done:
        """Copy, catch up once, and let the stack's applications write: it is all theirs."""
        procedure, store = self.procedure, self.procedure.project.store
        stack = procedure.need_stack()
        done = NOTHING
        copied = record(procedure).get("data") == stack.id
        if not copied and (run := procedure.data_run()) is not None:
            remember(procedure, source=run.source.id, data="")  # retire leaves it alone now
            done = super().make()
            run = procedure.data_run()
            assert run is not None
            state = store.follow(run, procedure.report)
            if state.phase != "replay":
                raise FearlessError(f"the copy did not catch up: {state.reason or state.phase}")
        remember(procedure, data=stack.id)  # first: what is open is never copied into again
        store.open(stack)
        return done


class Deploy:
    """The branch's image, running on every instance of the dev stack."""

    name: ClassVar[str] = "deploy"

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure

    def find(self) -> Done | None:
        """Done when the stack runs this SHA's image and was seen healthy with it."""
        stack = self.procedure.stack()
        row = record(self.procedure)
        if stack is None or row.get("healthy") != f"{stack.id} {self.procedure.release.sha}":
            return None
        return self._done(stack)

    def make(self) -> Done:
        """Swap the container if the stack runs another one; wait until all are healthy."""
        from fearless.builtin.gates import shows_sha, targets_healthy

        procedure, project = self.procedure, self.procedure.project
        stack = procedure.need_stack()
        image = project.registry.find(procedure.release)
        if image is None:
            raise FearlessError(f"{procedure.release.short} has no container image")
        if project.deployer.deployed(stack) or stack.sha != procedure.release.sha:
            project.deployer.deploy(procedure.release, stack, image, procedure.report)
        subject = candidate(procedure)
        healthy = targets_healthy(
            project.cloud, timeout=project.config.gates.timeout, report=procedure.report
        )
        ask(healthy, subject)
        if project.app.release:
            ask(shows_sha(project.app.release), subject)
        remember(procedure, healthy=f"{stack.id} {procedure.release.sha}")
        return self._done(stack)

    def _done(self, stack: Stack) -> Done:
        url = self.procedure.url(stack)
        return Done(f"{self.procedure.release.short} runs at {url}", {"url": url})


def steps() -> dict[str, Callable[[Procedure], Step]]:
    """What makes each step of a dev stack, in order."""
    return {
        "image": DevImage,
        "ami": DevAmi,
        "stack": ReleaseStack,
        "data": DevData,
        "deploy": Deploy,
    }


def record(procedure: Procedure) -> dict[str, Any]:
    """What the ledger knows of this branch's stack."""
    return procedure.ledger.get("DEV", str(procedure.release.branch)) or {}


def remember(procedure: Procedure, **facts: Any) -> None:
    """Add facts to the branch's row, and this SHA to those it was deployed at."""
    release, known = procedure.release, record(procedure)
    shas = sorted({*known.get("shas", []), release.sha})
    known = known or {"created": procedure.ledger.clock()}
    row = {**known, "branch": release.branch, "stack": release.stack_name, "sha": release.sha}
    procedure.ledger.put("DEV", str(release.branch), {**row, "shas": shas, **facts})


def drop(procedure: Procedure) -> Done:
    """Delete everything a branch's dev stack was: stack, data, machine images, images, rows.

    Raises Refused for a stack that is not a dev stack of this branch.
    """
    project, release = procedure.project, procedure.release
    stack, row = project.provisioner.find(release.stack_name), record(procedure)
    if stack is None and not row:
        return Done(f"there is no dev stack of {release.branch}", {"dropped": None})
    procedure.change()
    if stack is not None:
        allow(procedure, stack)
        project.deployer.forget(stack)
        project.store.forget(stack)
        allow(procedure, stack)
        project.provisioner.delete(stack, procedure.report)
    for sha in {*row.get("shas", []), *([stack.sha] if stack else [])}:
        discard(procedure, sha)
    for step in procedure.ledger.steps(release):
        procedure.ledger.delete(f"STEPS#{release.stack_name}", step)
    procedure.ledger.delete("DEV", str(release.branch))
    return Done(f"{release.stack_name} is gone", {"dropped": release.stack_name})


def allow(procedure: Procedure, stack: Stack) -> None:
    """The guards, asked right before deleting."""
    live = procedure.live()
    if stack.kind != "dev" or stack.tags.get("fearless:branch") != procedure.release.branch:
        raise Refused(f"{stack.name} is not the dev stack of {procedure.release.branch}")
    if stack.tags.get("fearless:app") != procedure.release.app:
        raise Refused(f"{stack.name} does not carry our tags")
    if live is not None and live.stack_id == stack.id:
        raise Refused(f"{stack.name} is live")


def discard(procedure: Procedure, sha: str) -> None:
    """Remove the images and local files of a SHA, unless a release or another stack uses them."""
    project, app = procedure.project, procedure.release.app
    used = procedure.ledger.release(sha) is not None or any(
        stack.sha == sha for stack in project.provisioner.list(app)
    )
    elsewhere = any(
        sha in row.get("shas", [])
        for row in procedure.ledger.all("DEV")
        if row["branch"] != procedure.release.branch
    )
    if used or elsewhere:
        return
    release = Release(app, sha, "", "", procedure.release.stack_name, "dev")
    if (baked := project.baker.find(release)) is not None:
        project.baker.discard(baked)
    if (image := project.registry.find(release)) is not None:
        project.registry.delete(image)
    for folder in ("build", "exports"):
        shutil.rmtree(project.directory / folder / sha, ignore_errors=True)
