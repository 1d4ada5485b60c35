"""The oci registry against real ones that are down, die, forget, or do not know us."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fearless import oci
from fearless.builtin.registries.manifests import DOCKER_LIST
from fearless.builtin.registries.oci import OciRegistry
from fearless.errors import ConfigError, FearlessError, NotAuthorised, Refused
from fearless.interfaces import Image, Release
from fearless.testing.contracts.given import a_release, an_image, explained
from tests import images
from tests.builtin.registries.given import Project, oci_registry
from tests.docker_registry import PASSWORD, USERNAME, DockerRegistry, Registries

pytest_plugins = ["tests.docker_registry"]

MB = 1 << 20


def big_image(directory: Path, release: Release, size: int = 64 * MB) -> Image:
    """An image with a layer that takes a moment to send."""
    layout = oci.Layout.create(directory / "layout")
    file = directory / "layer.tar"
    file.write_bytes(secrets.token_bytes(size))
    return replace(images.image(layout, file, tag=release.sha), repository=release.app)


# ------------------------------------------------------------------------ what goes wrong


def test_a_registry_that_is_down_is_one_line(registries: Registries, tmp_path: Path) -> None:
    registry = registries()
    registry.stop()
    provider, release = oci_registry(registry), a_release("shop")
    for attempt in (
        lambda: provider.find(release),
        lambda: provider.push(an_image(tmp_path / "one", release)),
    ):
        with explained() as caught:
            attempt()
        assert registry.host in str(caught.value)
        assert "Connection refused" in str(caught.value)
        assert "`[registry] registry`" in str(caught.value)


def test_a_registry_killed_in_the_middle_of_a_push_has_no_tag(
    registries: Registries, tmp_path: Path
) -> None:
    registry, release = registries(), a_release("shop")
    provider, image = oci_registry(registry), big_image(tmp_path, release)
    caught: list[FearlessError] = []

    def push() -> None:
        try:
            provider.push(image)
        except FearlessError as error:
            caught.append(error)

    thread = threading.Thread(target=push)
    thread.start()
    registry.when_uploading("shop", MB)
    registry.pause()
    registry.kill()
    thread.join(60)
    (error,) = caught
    assert "\n" not in str(error) and registry.host in str(error)
    assert registry.tags("shop") == []

    registry.start()
    assert provider.find(release) is None
    pushed = provider.push(image)
    assert pushed.digest == image.digest
    assert registry.tags("shop") == [release.sha]
    layout = oci.Layout(provider.pull(pushed, tmp_path / "pulled"))
    layout.verify(image.digest)


def test_a_push_survives_a_registry_that_comes_back(registries: Registries, tmp_path: Path) -> None:
    registry, release = registries(), a_release("shop")
    provider, image = oci_registry(registry), big_image(tmp_path, release)
    thread = threading.Thread(target=lambda: provider.push(image))
    thread.start()
    registry.when_uploading("shop", MB)
    registry.kill()
    registry.start()
    thread.join(60)
    found = provider.find(release)
    assert found is not None and found.digest == image.digest


def test_a_registry_that_hangs_is_given_up(registries: Registries) -> None:
    registry = registries()
    provider = oci_registry(registry)
    provider.timeout = 0.3
    registry.pause()
    with explained() as caught:
        provider.find(a_release("shop"))
    assert "timed out" in str(caught.value)
    registry.resume()
    assert provider.find(a_release("shop")) is None


@pytest.mark.parametrize("username", ["nobody", USERNAME])
def test_a_wrong_password_is_not_authorised(
    private_registry: DockerRegistry, tmp_path: Path, username: str
) -> None:
    project = Project(REGISTRY_PASSWORD="wrong wrong")
    provider = OciRegistry(project, private_registry.host, username, "REGISTRY_PASSWORD")  # type: ignore[arg-type]
    release = a_release("shop")
    for attempt in (
        lambda: provider.find(release),
        lambda: provider.push(an_image(tmp_path / "one", release)),
        provider.list,
    ):
        with pytest.raises(NotAuthorised) as caught:
            attempt()
        said = str(caught.value)
        assert private_registry.host in said and f"{username!r}" in said
        assert "`[registry] username` and `password_secret` ('REGISTRY_PASSWORD')" in said
        assert "wrong wrong" not in said and "\n" not in said
    assert private_registry.tags("shop") == []


def test_no_password_where_one_is_wanted(private_registry: DockerRegistry) -> None:
    with pytest.raises(NotAuthorised, match="anybody without a password"):
        OciRegistry(Project(), private_registry.host).find(a_release("shop"))  # type: ignore[arg-type]


def test_a_secret_there_is_not_is_said_by_its_name(private_registry: DockerRegistry) -> None:
    provider = OciRegistry(Project(), private_registry.host, "ci", "QUAY")  # type: ignore[arg-type]
    with explained() as caught:
        provider.find(a_release("shop"))
    assert "'QUAY'" in str(caught.value)


def test_another_digest_under_the_tag_is_refused_with_both(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    provider, release = oci_registry(docker_registry), a_release("refused")
    first, second = (an_image(tmp_path / text, release, text) for text in ("one", "two"))
    provider.push(first)
    for source in (
        second,
        replace(second, digest=""),
        replace(second, source="docker:x", digest=""),
    ):
        with pytest.raises(Refused) as caught:
            provider.push(source)
        assert first.digest in str(caught.value)
        assert (source.digest or source.image_id or "sha256:x") in str(caught.value)
        assert f"{docker_registry.host}/refused:{release.sha}" in str(caught.value)
    found = provider.find(release)
    assert found is not None and found.digest == first.digest


def test_a_blob_that_is_lost_is_said_and_can_be_pushed_again(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    provider, release = oci_registry(docker_registry), a_release("lost")
    image = an_image(tmp_path / "one", release)
    pushed = provider.push(image)
    layer = oci.Layout(tmp_path / "one").manifest(image.digest).layers[1]
    path = f"lost/blobs/{layer.digest}"
    session = provider.client._session
    session.request("DELETE", path, ("repository:lost:delete",), fine=(202,))
    with pytest.raises(oci.CorruptImage) as caught:
        provider.pull(pushed, tmp_path / "pulled")
    assert layer.digest in str(caught.value) and "push the image again" in str(caught.value)
    provider.push(image)
    provider.pull(pushed, tmp_path / "pulled")


def test_a_blob_that_is_damaged_is_not_taken(registries: Registries, tmp_path: Path) -> None:
    registry, release = registries(), a_release("shop")
    provider = oci_registry(registry)
    pushed = provider.push(an_image(tmp_path / "one", release))
    layer = oci.Layout(tmp_path / "one").manifest(pushed.digest).layers[1]
    data = registry.blob(layer.digest).read_bytes()
    registry.blob(layer.digest).write_bytes(data[:-1] + b"!")
    with pytest.raises(oci.CorruptImage, match=layer.digest):
        provider.pull(pushed, tmp_path / "pulled")
    blobs = {path.name for path in (tmp_path / "pulled/blobs/sha256").iterdir()}
    assert all(
        oci.digest_of_file(tmp_path / "pulled/blobs/sha256" / b) == f"sha256:{b}" for b in blobs
    )
    assert layer.digest.partition(":")[2] not in blobs


def test_a_layout_that_is_damaged_is_not_pushed(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    provider, release = oci_registry(docker_registry), a_release("damaged")
    image = an_image(tmp_path / "one", release)
    layer = oci.Layout(tmp_path / "one").manifest(image.digest).layers[1]
    oci.Layout(tmp_path / "one").path(layer.digest).write_bytes(b"?")
    with pytest.raises(oci.CorruptImage):
        provider.push(image)
    assert docker_registry.tags("damaged") == []


def test_a_registry_that_does_not_delete_says_how_to_switch_it_on(
    registries: Registries, tmp_path: Path
) -> None:
    registry, release = registries(), a_release("shop")
    registry.stop()
    config = registry.directory / "config.yml"
    settings = json.loads(config.read_text())
    settings["storage"]["delete"]["enabled"] = False
    config.write_text(json.dumps(settings))
    registry.start()
    provider = oci_registry(registry)
    pushed = provider.push(an_image(tmp_path / "one", release))
    with pytest.raises(FearlessError, match="does not delete"):
        provider.delete(pushed)
    assert provider.find(release) is not None


# ------------------------------------------------------------------------ what travels


def test_what_is_there_is_not_sent_again(registries: Registries, tmp_path: Path) -> None:
    registry = registries()
    provider, first, second = oci_registry(registry), a_release("shop"), a_release("shop")
    provider.push(an_image(tmp_path / "one", first))
    blobs = set(registry.storage.glob("docker/registry/v2/blobs/sha256/*/*"))
    image = an_image(tmp_path / "two", second, "two")
    shared = oci.Layout(tmp_path / "two").manifest(image.digest).layers[0]
    before = registry.blob(shared.digest).stat().st_mtime_ns
    provider.push(image)
    added = set(registry.storage.glob("docker/registry/v2/blobs/sha256/*/*")) - blobs
    assert len(added) == 3, "a layer, the configuration and the manifest; the base layer was there"
    assert registry.blob(shared.digest).stat().st_mtime_ns == before


def test_a_copy_mounts_within_a_registry_and_carries_between_two(
    registries: Registries, tmp_path: Path
) -> None:
    here, there = registries(), registries((USERNAME, PASSWORD))
    release = a_release("shop")
    pushed = oci_registry(here, path="team").push(an_image(tmp_path / "one", release))
    for target, path in ((here, "other"), (there, "")):
        provider = oci_registry(target, path=path)
        found = provider.push(replace(pushed, digest="", image_id=""))
        assert (found.digest, found.image_id) == (pushed.digest, pushed.image_id)
        provider.pull(found, tmp_path / f"{target.port}{path}")
        oci.Layout(tmp_path / f"{target.port}{path}").verify(pushed.digest)
    uploads = here.storage / "docker/registry/v2/repositories/other/shop/_uploads"
    assert not list(uploads.glob("*")), "mounted: nothing was uploaded, and nothing is left"


def test_a_docker_manifest_stays_what_it_is(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    """A layout that was pulled from an engine's push has Docker's types; its digest must hold."""
    provider, release = oci_registry(docker_registry), a_release("dockers")
    image = docker_image(tmp_path / "docker", release)
    pushed = provider.push(image)
    assert pushed.digest == image.digest
    provider.pull(pushed, tmp_path / "pulled")
    (entry,) = oci.Layout(tmp_path / "pulled").tags().values()
    assert entry.media_type == "application/vnd.docker.distribution.manifest.v2+json"
    assert entry.digest == image.digest


def docker_image(directory: Path, release: Release) -> Image:
    """An image whose manifest is Docker's schema 2."""
    base = an_image(directory, release)
    layout = oci.Layout(directory)
    old = layout.manifest(base.digest)
    docker = "application/vnd.docker"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{docker}.distribution.manifest.v2+json",
        "config": old.config.to_json() | {"mediaType": f"{docker}.container.image.v1+json"},
        "layers": [
            layer.to_json() | {"mediaType": f"{docker}.image.rootfs.diff.tar"}
            for layer in old.layers
        ],
    }
    made = layout.put(json.dumps(manifest, indent=3).encode(), manifest["mediaType"])  # type: ignore[arg-type]
    return replace(base, digest=made.digest)


def test_an_index_leads_to_the_one_image_it_has(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    provider, release = oci_registry(docker_registry, "index"), a_release("index")
    child = provider.push(replace(an_image(tmp_path / "one", release), tag="branch-x"))
    attestation = provider.push(replace(an_image(tmp_path / "two", release, "2"), tag="branch-y"))
    push_index(provider, release.sha, [(child, "linux/amd64"), (attestation, "unknown/unknown")])
    found = provider.find(release)
    assert found is not None
    assert (found.digest, found.image_id) == (child.digest, child.image_id)
    assert found in provider.list()
    provider.pull(found, tmp_path / "pulled")
    oci.Layout(tmp_path / "pulled").verify(child.digest)
    provider.delete(found)
    assert provider.find(release) is None
    assert provider.find(replace(release, sha="branch-x")) is not None


def test_an_index_of_several_needs_a_platform(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    provider, release = oci_registry(docker_registry, "several"), a_release("several")
    one = provider.push(replace(an_image(tmp_path / "one", release), tag="branch-x"))
    two = provider.push(replace(an_image(tmp_path / "two", release, "2"), tag="branch-y"))
    push_index(provider, release.sha, [(one, "linux/amd64"), (two, "linux/arm64")])
    with explained() as caught:
        provider.find(release)
    listed = {image.tag: image for image in provider.list()}
    assert {tag: bool(image.image_id) for tag, image in listed.items()} == {
        release.sha: False,
        "branch-x": True,
        "branch-y": True,
    }
    assert "linux/amd64, linux/arm64" in str(caught.value)
    provider.platform = "linux/arm64"
    found = provider.find(release)
    assert found is not None and found.digest == two.digest
    provider.platform = "linux/s390x"
    with pytest.raises(FearlessError, match="linux/s390x"):
        provider.find(release)
    provider.delete(listed[release.sha])
    assert [image.tag for image in provider.list()] == ["branch-x", "branch-y"]


def push_index(provider: OciRegistry, tag: str, children: list[tuple[Image, str]]) -> None:
    from fearless.builtin.registries.manifests import Document

    app = children[0][0].repository
    entries = []
    for image, platform in children:
        found = provider.found(app, image.digest)
        assert found is not None
        system, _, machine = platform.partition("/")
        entries.append(
            {
                "mediaType": found.document.media_type,
                "digest": image.digest,
                "size": len(found.document.data),
                "platform": {"os": system, "architecture": machine},
            }
        )
    data = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries}
    document = Document(json.dumps(data).encode(), DOCKER_LIST)
    provider.client.put_manifest(provider.repository(app), tag, document)


def test_tags_come_page_by_page(
    docker_registry: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, release = oci_registry(docker_registry, "pages"), a_release("pages")
    image = provider.push(an_image(tmp_path / "one", release))
    for number in range(5):
        provider.alias(image, f"branch-{number}")
    monkeypatch.setattr("fearless.builtin.registries.distribution._PAGE", 2)
    assert len(provider.list()) == 6


# ------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"registry": "https://quay.io/acme"}, "without `https://`"),
        ({"registry": ""}, "a host name"),
        ({"registry": "quay.io/Acme"}, "a host name"),
        ({"registry": "quay.io", "username": "x"}, "needs `password_secret`"),
        ({"registry": "quay.io", "password_secret": "x"}, "needs `username`"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OciRegistry(Project(), **settings)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_plain_http_is_for_loopback_and_whoever_asks_for_it() -> None:
    def url(registry: str, plain_http: bool = False) -> str:
        return OciRegistry(Project(), registry, plain_http=plain_http).address().url  # type: ignore[arg-type]

    assert url("quay.io/acme") == "https://quay.io"
    assert url("127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert url("registry.internal:5000", True) == "http://registry.internal:5000"


def test_the_password_is_asked_for_once_and_shown_nowhere() -> None:
    project = Project(QUAY="hush hush")
    provider = OciRegistry(project, "quay.io/acme", "ci", "QUAY")  # type: ignore[arg-type]
    assert project.secrets.asked == 0
    for _ in range(2):
        login = provider.login()
        assert login is not None and login.password == "hush hush"
    assert project.secrets.asked == 1
    assert "hush" not in f"{login} {provider!r} {provider.address()}"
