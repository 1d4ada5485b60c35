"""Layers: equal files are equal bytes, whiteouts hide, and nothing is written outside."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fearless import layer
from fearless.oci import CorruptImage, digest_of_file
from tests import images


def raw(path: Path, *members: tuple[str, bytes, str]) -> Path:
    """A layer written by somebody hostile: (name, tar type, link target or content)."""
    with tarfile.open(path, "w") as tar:
        for name, kind, value in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mode = 0o644
            data = b""
            if kind == tarfile.REGTYPE:
                data = value.encode()
                info.size = len(data)
            else:
                info.linkname = value
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def apply(root: Path, *members: tuple[str, bytes, str]) -> None:
    layer.apply(raw(root.parent / "layer.tar", *members), root)


FILE, LINK, HARD, DIR = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@given(
    files=st.dictionaries(st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,3}", fullmatch=True), st.text())
)
@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_written_then_applied_is_the_same(tmp_path: Path, files: dict[str, str]) -> None:
    names = {n for n in files if not any(o.startswith(f"{n}/") for o in files)}
    members = {name: images.text(files[name]) for name in names}
    target = tmp_path / os.urandom(8).hex()
    target.mkdir()
    layer.apply(images.tarball(tmp_path / "layer.tar", members), target)
    found = {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert found == {name: files[name].encode() for name in names}


def test_equal_files_are_equal_bytes(tmp_path: Path) -> None:
    one = {"b/x": images.text("1"), "a": images.text("2", 0o755)}
    two = dict(reversed(one.items()))
    first = digest_of_file(images.tarball(tmp_path / "1.tar", one))
    assert first == digest_of_file(images.tarball(tmp_path / "2.tar", two))
    with tarfile.open(tmp_path / "1.tar") as tar:
        assert [m.name for m in tar] == ["a", "b", "b/x"]
        assert {(m.uid, m.gid, m.mtime) for m in tar} == {(0, 0, 0)}


def test_a_whiteout_hides_a_file_and_a_directory(root: Path) -> None:
    apply(root, ("etc/keep", FILE, "1"), ("etc/gone", FILE, "1"), ("var/lib/x", FILE, "1"))
    apply(root, ("etc/.wh.gone", FILE, ""), (".wh.var", FILE, ""), ("etc/.wh.never", FILE, ""))
    assert sorted(p.name for p in root.rglob("*")) == ["etc", "keep"]


def test_an_opaque_whiteout_hides_lower_layers_only(root: Path) -> None:
    apply(root, ("d/lower", FILE, "1"), ("d/sub/lower", FILE, "1"))
    apply(root, ("d/upper", FILE, "2"), ("d/.wh..wh..opq", FILE, ""))
    assert [p.name for p in (root / "d").iterdir()] == ["upper"]


def test_a_file_replaces_a_directory_and_back(root: Path) -> None:
    apply(root, ("a/b", FILE, "1"))
    apply(root, ("a", FILE, "2"))
    assert (root / "a").read_text() == "2"
    apply(root, ("a", DIR, ""), ("a/b", FILE, "3"))
    assert (root / "a/b").read_text() == "3"


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "a/../.wh.out"])
def test_a_name_that_leaves_the_image_is_refused(root: Path, name: str) -> None:
    with pytest.raises(CorruptImage, match="would leave the image"):
        apply(root, (name, FILE, "bad"))
    assert not (root.parent / "out").exists()


@pytest.mark.parametrize("name", ["..", "a/../.."])
def test_no_name_leaves_the_image_after_its_neighbours_were_unpacked(root: Path, name: str) -> None:
    (root.parent / "mine").write_text("kept")
    with pytest.raises(CorruptImage, match="would leave the image"):
        apply(root, ("x", FILE, "1"), ("a/x", FILE, "1"), (name, FILE, "bad"))
    assert (root.parent / "mine").read_text() == "kept"
    assert not list(root.iterdir()), "nothing was written"


def test_a_directory_that_becomes_a_link_is_followed_from_then_on(root: Path) -> None:
    real, link = ("real/x", FILE, "1"), ("d", LINK, "/real")
    apply(root, real, ("d/x", FILE, "2"), ("d/y", FILE, "3"), link, ("d/z", FILE, "4"))
    assert sorted(p.name for p in (root / "real").iterdir()) == ["x", "z"]
    assert (root / "d").is_symlink()


@pytest.mark.parametrize("name", [".wh..", ".wh...", "a/.wh..", ".wh."])
def test_a_whiteout_of_the_parent_is_refused(root: Path, name: str) -> None:
    with pytest.raises(CorruptImage):
        apply(root, (name, FILE, ""))
    assert root.exists()


@pytest.mark.parametrize("target", ["../../..", "/", "{outside}", "../outside"])
def test_a_link_is_never_followed_outside(root: Path, target: str) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    where = target.format(outside=outside)
    apply(root, ("link", LINK, where))
    apply(root, ("link/bad", FILE, "bad"))
    assert not list(outside.iterdir())
    assert not (root.parent / "bad").exists()
    assert list(root.rglob("bad"))


def test_a_hard_link_to_outside_is_refused(root: Path) -> None:
    (root.parent / "secret").write_text("secret")
    with pytest.raises(CorruptImage, match="not there"):
        apply(root, ("a", HARD, "../secret"))


def test_hard_links_inside(root: Path) -> None:
    apply(root, ("a", FILE, "1"), ("d/b", HARD, "a"))
    assert (root / "d/b").read_text() == "1"


def test_absolute_links_lead_inside(root: Path) -> None:
    apply(root, ("usr/bin/python3", FILE, "x"), ("opt/venv/bin/python", LINK, "/usr/bin/python3"))
    assert (root / "opt/venv/bin/python").read_text() == "x"
    assert not (root / "opt/venv/bin/python").readlink().is_absolute()


def test_merged_usr(root: Path) -> None:
    apply(root, ("usr/bin", DIR, ""), ("bin", LINK, "usr/bin"))
    apply(root, ("bin/tool", FILE, "1"))
    assert (root / "usr/bin/tool").read_text() == "1"
    assert (root / "bin").is_symlink()


def test_a_loop_of_links_is_an_error(root: Path) -> None:
    apply(root, ("a", LINK, "b"), ("b", LINK, "a"))
    with pytest.raises(CorruptImage, match="too many"):
        apply(root, ("a/x", FILE, "1"))


def test_a_file_below_a_file_is_an_error(root: Path) -> None:
    apply(root, ("a", FILE, "1"))
    with pytest.raises(CorruptImage, match="no directory"):
        apply(root, ("a/b/c", FILE, "1"))


def test_modes_and_special_files(root: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "l.tar", "w") as tar:
        for name, mode in (("setuid", 0o4755), ("hidden", 0o000)):
            info = tarfile.TarInfo(name)
            info.mode = mode
            tar.addfile(info)
        device = tarfile.TarInfo("null")
        device.type = tarfile.CHRTYPE
        tar.addfile(device)
    layer.apply(tmp_path / "l.tar", root)
    assert stat.S_IMODE((root / "setuid").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "hidden").stat().st_mode) == 0o600
    assert not (root / "null").exists()


def test_compressed_layers(root: Path, tmp_path: Path) -> None:
    plain = images.tarball(tmp_path / "l.tar", {"a": images.text("1")})
    packed = tmp_path / "l.tar.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    layer.apply(packed, root)
    assert (root / "a").read_text() == "1"


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
def test_what_is_no_layer_is_an_error(root: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "l.tar"
    path.write_bytes(content)
    with pytest.raises(CorruptImage, match="not a layer"):
        layer.apply(path, root)
