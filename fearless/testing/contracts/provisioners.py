"""What every provisioner keeps: stacks are found by name, owned by SHA and deleted by id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from fearless.errors import Refused
from fearless.interfaces import Kind, Provisioner, Release, Report, Stack
from fearless.testing.contracts.given import Contract, a_release, explained

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Word:
    Type: String
Resources:
  Parameter:
    Type: AWS::SSM::Parameter
    Properties:
      Type: String
      Value: !Ref Word
Outputs:
  Word:
    Value: !Ref Word
"""
BROKEN = """
AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Nothing:
    Type: AWS::No::SuchThing
"""
Create = Callable[[Release], Stack]


class ProvisionerContract(Contract):
    """`provider` is the provisioner. `template` renders with `parameters`; `broken` does not."""

    @pytest.fixture
    def provider(self) -> Provisioner:
        """The provisioner."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def template(self) -> str:
        """A small template, with the output `Word`."""
        return TEMPLATE

    @pytest.fixture
    def parameters(self) -> Mapping[str, str]:
        """Its parameters."""
        return {"Word": "hello"}

    @pytest.fixture
    def broken(self) -> str:
        """A template, without parameters, of which no stack can be made."""
        return BROKEN

    @pytest.fixture
    def create(
        self,
        provider: Provisioner,
        app: str,
        template: str,
        parameters: Mapping[str, str],
        report: Report,
    ) -> Iterator[Create]:
        """Create the stack of a release; all stacks of the app are deleted after the test."""
        yield lambda release: provider.create(release, template, parameters, report)
        for stack in provider.list(app):
            provider.delete(stack, report)

    def test_it_is_a_provisioner(self, provider: Provisioner) -> None:
        assert isinstance(provider, Provisioner)

    def test_what_was_never_created_is_absent(
        self, provider: Provisioner, app: str, release: Release
    ) -> None:
        assert provider.find(release.stack_name) is None
        assert provider.find(release.stack_name) is None
        assert list(provider.list(app)) == []

    @pytest.mark.parametrize("kind", ["release", "dev"])
    def test_what_is_created_is_found_and_says_what_it_is(
        self, provider: Provisioner, app: str, create: Create, kind: Kind
    ) -> None:
        release = a_release(app, kind)
        stack = create(release)
        assert stack.ready
        assert stack.id != stack.name, "a name is used again; an id must not be"
        assert (stack.name, stack.kind) == (release.stack_name, kind)
        assert (stack.release, stack.sha) == (release.name, release.sha)
        assert release.tags().items() <= dict(stack.tags).items()
        found = provider.find(release.stack_name)
        assert found is not None
        assert (found.id, found.outputs) == (stack.id, stack.outputs)

    def test_parameters_reach_the_stack(self, create: Create, release: Release) -> None:
        self.need_the_real_thing()
        assert create(release).outputs["Word"] == "hello"

    def test_creating_twice_is_creating_once(
        self, provider: Provisioner, app: str, create: Create, release: Release
    ) -> None:
        assert create(release).id == create(release).id
        assert len(provider.list(app)) == 1

    def test_the_list_is_of_one_app_oldest_first(
        self, provider: Provisioner, app: str, create: Create
    ) -> None:
        made = [create(a_release(app)), create(a_release(app, "dev"))]
        listed = provider.list(app)
        assert {stack.id for stack in listed} == {stack.id for stack in made}
        assert [stack.created for stack in listed] == sorted(stack.created for stack in made)
        assert list(provider.list(f"{app}x")) == []

    def test_a_name_that_another_release_has_is_refused(
        self, provider: Provisioner, app: str, create: Create, release: Release
    ) -> None:
        stack = create(release)
        with pytest.raises(Refused):
            create(replace(a_release(app), stack_name=release.stack_name))
        found = provider.find(release.stack_name)
        assert found is not None and (found.id, found.sha) == (stack.id, release.sha)

    def test_a_template_that_cannot_be_is_explained(
        self, provider: Provisioner, create: Create, release: Release, broken: str, report: Report
    ) -> None:
        self.need_the_real_thing()
        with explained():
            provider.create(release, broken, {}, report)
        stack = provider.find(release.stack_name)
        assert stack is None or not stack.ready
        assert create(release).ready, "the mended template is created over what is left"

    def test_deleting_tolerates_what_is_gone(
        self, provider: Provisioner, app: str, create: Create, release: Release, report: Report
    ) -> None:
        stack = create(release)
        for _ in range(2):
            provider.delete(stack, report)
            assert provider.find(release.stack_name) is None
            assert list(provider.list(app)) == []

    def test_exactly_the_stack_of_that_id_is_deleted(
        self, provider: Provisioner, create: Create, release: Release, report: Report
    ) -> None:
        first = create(release)
        provider.delete(first, report)
        second = create(release)
        assert second.id != first.id
        provider.delete(first, report)
        found = provider.find(release.stack_name)
        assert found is not None and found.id == second.id
