"""What every registry keeps: tags never move, what is pushed is read back, by digest.

`RemoteRegistryContract` has more, for those that a Docker engine reaches by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fearless import oci, oci_reference
from fearless.errors import Refused
from fearless.interfaces import Image, Inventory, Registry, Release, RemoteRegistry
from fearless.testing.contracts.given import (
    Contract,
    a_release,
    an_image,
    explained,
    of_app,
    without_source,
)

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
Build = Callable[..., Image]
Push = Callable[[Image], Image]


def _ago(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


class RegistryContract(Contract):
    """`provider` is the registry. `build(release, text)` makes an image that it can push."""

    @pytest.fixture
    def provider(self) -> Registry:
        """The registry."""
        raise NotImplementedError("override the fixture `provider`")

    @pytest.fixture
    def build(self, tmp_path: Path) -> Build:
        """`build(release, text="one")`: an image with that text inside, as an OCI layout."""

        def build(release: Release, text: str = "one") -> Image:
            return an_image(tmp_path / f"built-{release.app}-{release.sha}-{text}", release, text)

        return build

    @pytest.fixture
    def push(self, provider: Registry) -> Iterator[Push]:
        """Push an image; deleted again after the test."""
        pushed: list[Image] = []

        def push(image: Image) -> Image:
            pushed.append(provider.push(image))
            return pushed[-1]

        yield push
        for image in pushed:
            provider.delete(image)

    def test_it_is_a_registry(self, provider: Registry) -> None:
        assert isinstance(provider, Registry)

    def test_what_was_never_pushed_is_absent(self, provider: Registry, release: Release) -> None:
        assert provider.find(release) is None
        assert provider.find(release) is None
        assert release.sha not in [image.tag for image in provider.list()]

    def test_what_is_pushed_is_found_by_sha(
        self, provider: Registry, release: Release, build: Build, push: Push
    ) -> None:
        image = build(release)
        pushed = push(image)
        assert (pushed.repository, pushed.tag) == (release.app, release.sha)
        assert DIGEST.fullmatch(pushed.digest), pushed
        assert pushed.digest == image.digest or not image.digest
        assert pushed.image_id == image.image_id
        found = provider.find(release)
        assert found is not None
        assert without_source(found) == without_source(pushed)
        assert without_source(found) in [without_source(one) for one in provider.list()]

    def test_an_inventory_is_the_list_with_sizes(
        self, provider: Registry, app: str, build: Build, push: Push
    ) -> None:
        if not isinstance(provider, Inventory):
            pytest.skip("this registry is no Inventory: core shows its images without size and age")
        sizes = []
        for text in ("one", "two"):
            image = push(build(a_release(app), text))
            (stored,) = [one for one in provider.stored() if one.image.tag == image.tag]
            assert without_source(stored.image) == without_source(image)
            assert stored.created is None or abs(_ago(stored.created)) < 24 * 3600
            sizes.append(stored.size)
        assert [one.image for one in provider.stored()] == list(provider.list())
        assert None in sizes or all(size > 0 for size in sizes if size is not None)
        assert all("\n" not in line for line in provider.deviations())

    def test_pushing_twice_is_pushing_once(
        self, provider: Registry, release: Release, build: Build, push: Push
    ) -> None:
        image = build(release)
        assert without_source(push(image)) == without_source(push(image))
        assert [one.tag for one in provider.list()].count(release.sha) == 1

    def test_a_tag_never_moves(
        self, provider: Registry, release: Release, build: Build, push: Push
    ) -> None:
        first = push(build(release))
        with pytest.raises(Refused):
            provider.push(build(release, "two"))
        found = provider.find(release)
        assert found is not None and found.digest == first.digest

    def test_another_app_at_the_same_sha_is_another_image(
        self, provider: Registry, app: str, release: Release, build: Build, push: Push
    ) -> None:
        push(build(release))
        assert provider.find(of_app(release, f"{app}x")) is None

    def test_a_pull_writes_the_same_bytes(
        self, provider: Registry, release: Release, build: Build, push: Push, tmp_path: Path
    ) -> None:
        self.need_the_real_thing()
        image = push(build(release))
        into = tmp_path / "pulled"
        for _ in range(2):
            assert provider.pull(image, into) == into
            config = oci.Layout(into).verify(image.digest).config
            assert config.digest == image.image_id

    def test_what_is_not_there_cannot_be_pulled(
        self, provider: Registry, release: Release, build: Build, tmp_path: Path
    ) -> None:
        self.need_the_real_thing()
        with explained():
            provider.pull(build(release), tmp_path / "pulled")

    def test_deleting_tolerates_what_is_gone(
        self, provider: Registry, release: Release, build: Build
    ) -> None:
        image = build(release)
        provider.delete(image)
        pushed = provider.push(image)
        for _ in range(2):
            provider.delete(pushed)
            assert provider.find(release) is None
        assert release.sha not in [one.tag for one in provider.list()]

    def test_a_deleted_tag_can_be_pushed_anew(
        self, provider: Registry, release: Release, build: Build, push: Push
    ) -> None:
        provider.delete(push(build(release)))
        again = push(build(release, "two"))
        found = provider.find(release)
        assert found is not None and found.digest == again.digest

    def test_deleting_leaves_what_others_use(
        self,
        provider: Registry,
        app: str,
        release: Release,
        build: Build,
        push: Push,
        tmp_path: Path,
    ) -> None:
        other = a_release(app)
        kept, gone = push(build(other, "two")), push(build(release))
        provider.delete(gone)
        found = provider.find(other)
        assert found is not None and found.digest == kept.digest
        if not self.stand_in:
            layout = oci.Layout(provider.pull(kept, tmp_path / "pulled"))
            layout.verify(kept.digest)

    def test_a_source_nobody_knows_is_explained(
        self, provider: Registry, release: Release, build: Build
    ) -> None:
        self.need_the_real_thing()
        with explained():
            provider.push(replace(build(release), source="floppy:a"))
        assert provider.find(release) is None


class RemoteRegistryContract(RegistryContract):
    """The same, and what a Docker engine needs to push and pull by itself."""

    @pytest.fixture
    def remote(self, provider: Registry) -> RemoteRegistry:
        """The provider, which is both."""
        assert isinstance(provider, RemoteRegistry)
        return provider

    def test_an_engine_knows_it_by_a_full_name(
        self, remote: RemoteRegistry, app: str, release: Release
    ) -> None:
        name = oci_reference.parse(remote.name(app, release.sha))
        assert name.registry, "an engine would ask Docker Hub for it"
        assert (name.tag, name.digest) == (release.sha, "")
        other = oci_reference.parse(remote.name(app, "branch-main"))
        assert (other.name, other.tag) == (name.name, "branch-main")
        assert oci_reference.parse(remote.name(f"{app}x", "t")).name != name.name

    def test_a_login_is_for_where_the_name_leads(
        self, remote: RemoteRegistry, app: str, release: Release
    ) -> None:
        for _ in range(2):
            login = remote.login()
            if login is not None:
                name = oci_reference.parse(remote.name(app, release.sha))
                assert login.server.removeprefix("https://").rstrip("/") == name.registry
                assert login.username and login.password
                assert login.password not in repr(login)

    def test_what_another_pushed_is_found_by_its_name(
        self, provider: Registry, remote: RemoteRegistry, app: str, build: Build, push: Push
    ) -> None:
        pushed = push(build(a_release(app)))
        name = oci_reference.parse(remote.name(app, pushed.tag))
        by_tag, by_digest, both = (
            str(replace(name, tag=tag, digest=digest))
            for tag, digest in ((name.tag, ""), ("", pushed.digest), (name.tag, pushed.digest))
        )
        for reference in (by_tag, by_digest, both):
            other = a_release(app)
            again = push(Image(app, other.sha, "", pushed.image_id, f"registry:{reference}"))
            assert (again.digest, again.image_id) == (pushed.digest, pushed.image_id)
            found = provider.find(other)
            assert found is not None and found.digest == pushed.digest

    def test_what_nobody_pushed_cannot_be_taken(
        self, provider: Registry, remote: RemoteRegistry, app: str, release: Release
    ) -> None:
        absent = remote.name(app, a_release(app).sha)
        with explained():
            provider.push(Image(app, release.sha, "", "", f"registry:{absent}"))
        assert provider.find(release) is None

    def test_an_alias_moves(
        self, provider: Registry, remote: RemoteRegistry, app: str, build: Build, push: Push
    ) -> None:
        first, second = (push(build(a_release(app), text)) for text in ("one", "two"))
        for tag in ("branch-main", "cache-main"):
            for image in (first, second, second):
                remote.alias(image, tag)
                assert {one.tag: one.digest for one in provider.list()}[tag] == image.digest
            provider.delete(replace(second, tag=tag))
        assert {one.tag for one in provider.list()} == {first.tag, second.tag}

    def test_the_tag_of_a_release_is_no_alias(
        self, provider: Registry, remote: RemoteRegistry, app: str, build: Build, push: Push
    ) -> None:
        release = a_release(app)
        first, second = push(build(release)), push(build(a_release(app), "two"))
        with pytest.raises(Refused):
            remote.alias(second, release.sha)
        found = provider.find(release)
        assert found is not None and found.digest == first.digest

    def test_only_what_was_pushed_has_an_alias(
        self, provider: Registry, remote: RemoteRegistry, release: Release, build: Build
    ) -> None:
        self.need_the_real_thing()
        with explained():
            remote.alias(build(release), "branch-main")
        assert "branch-main" not in [one.tag for one in provider.list()]

    def test_deleting_one_of_two_tags_leaves_the_other(
        self,
        provider: Registry,
        remote: RemoteRegistry,
        release: Release,
        build: Build,
        push: Push,
        tmp_path: Path,
    ) -> None:
        image = push(build(release))
        alias = replace(image, tag="branch-main")
        remote.alias(image, alias.tag)
        provider.delete(alias)
        assert [one.tag for one in provider.list()] == [release.sha]
        remote.alias(image, alias.tag)
        provider.delete(image)
        assert provider.find(release) is None
        assert [one.tag for one in provider.list()] == [alias.tag]
        if not self.stand_in:
            provider.pull(alias, tmp_path / "pulled")
        provider.delete(alias)
        assert list(provider.list()) == []
