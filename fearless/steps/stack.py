"""Create the stack: network, load balancer, instances, permissions, tables."""

from __future__ import annotations

from typing import Any, ClassVar

from fearless.errors import ConfigError, FearlessError
from fearless.procedure import Done, Procedure

TEMPLATE = "stack.yaml.j2"


class ReleaseStack:
    """The CloudFormation stack named by the SHA (or, for a dev stack, by the branch)."""

    name: ClassVar[str] = "stack"

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure

    def find(self) -> Done | None:
        """The complete stack of that name."""
        stack = self.procedure.stack()
        if stack is None:
            return None
        return Done(stack.name, {"stack": stack.name, "url": self.procedure.url(stack)})

    def make(self) -> Done:
        """Render the template, create the stack, follow it until it is complete."""
        from fearless.template import render

        procedure = self.procedure
        project, release = procedure.project, procedure.release
        rendered = render(project.ops / "templates", TEMPLATE, self._variables())
        built = project.directory / "build" / release.sha / "stack.yaml"
        built.parent.mkdir(parents=True, exist_ok=True)
        built.write_text(rendered.text)
        stack = project.provisioner.create(
            release, rendered.text, self._parameters(), procedure.report
        )
        if release.kind == "release":
            procedure.ledger.remember(release, stack_id=stack.id, template=rendered.digest)
        return Done(
            stack.name,
            {
                "stack": stack.name,
                "stack_id": stack.id,
                "url": procedure.url(stack),
                "template": rendered.digest,
            },
        )

    def _variables(self) -> dict[str, Any]:
        project, release = self.procedure.project, self.procedure.release
        variables: dict[str, Any] = {}
        given: dict[str, str] = {}
        core = {
            "app": project.app,
            "release": release,
            "kind": release.kind,
            "tables": list(project.tables),
        }
        for answer, origin in project.plugins.ask("template_vars", release=release):
            for name, value in answer.items():
                if name in core or name in given:
                    raise ConfigError(
                        f"{origin}: template variable {name!r} is already given by "
                        f"{given.get(name, 'Fearless')}; rename it"
                    )
                given[name] = origin
                variables[name] = value
        return {**variables, **core}

    def _parameters(self) -> dict[str, str]:
        project, release = self.procedure.project, self.procedure.release
        image = project.registry.find(release)
        if image is None:
            raise FearlessError(f"{release.short} has no container image; run `doit image`")
        parameters = {
            "ImageId": self.procedure.machine_image().id,
            "ContainerImage": image.reference,
            **project.cloud.parameters(release.stack_name),
            **{name: str(value) for name, value in project.config.stack.parameters.items()},
        }
        if release.kind == "dev":
            parameters["DesiredCapacity"] = str(project.config.devstack.instances)
        return parameters
