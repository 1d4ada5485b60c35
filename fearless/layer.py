"""One layer of an image: written so that equal files are equal bytes, applied onto a directory."""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fearless.oci import CorruptImage

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_MOST_LINKS = 40


@dataclass(frozen=True)
class Member:
    """What a layer holds under one name: a file (`read`), a symbolic link, or a directory."""

    mode: int
    read: Callable[[], bytes] | None = None
    link: str | None = None


DIRECTORY = Member(0o755)


def write(path: Path, members: Mapping[str, Member]) -> None:
    """Write the layer, with the parent directories its members need. Names are relative.

    Nothing in it varies with the machine: sorted, owner 0, mtime 0.
    """
    parents = {
        str(parent): DIRECTORY
        for name in members
        for parent in PurePosixPath(name).parents
        if str(parent) != "."
    }
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, member in sorted((parents | dict(members)).items()):
            info = tarfile.TarInfo(name)
            info.mode = member.mode
            data = b""
            if member.link is not None:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, member.link, 0o777
            elif member.read is None:
                info.type = tarfile.DIRTYPE
            else:
                data = member.read()
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def on_disk(path: Path) -> Member:
    """The member a file, link or directory on disk makes."""
    mode = path.lstat().st_mode & 0o7777
    if path.is_symlink():
        return Member(mode, link=str(path.readlink()))
    return Member(mode) if path.is_dir() else Member(mode, read=path.read_bytes)


def apply(layer: Path, root: Path) -> None:
    """Unpack a layer (plain or compressed) over what lower layers left in `root`.

    Nothing is ever written outside `root`: names that would leave it raise CorruptImage, and
    links are followed as if `root` were `/`. Links that only make sense there are made relative.
    Owners are not kept, and devices are left out: this is for plain processes of this user.
    """
    try:
        with tarfile.open(layer) as tar:
            members = [member for member in tar if posixpath.normpath(member.name) != "."]
            for member in members:
                _check_name(member.name)
                if _is_whiteout(member):
                    _remove_hidden(root, member.name)
            parents: dict[str, Path] = {}
            for member in members:
                if not _is_whiteout(member):
                    _extract(tar, member, root, parents)
    except (tarfile.TarError, EOFError) as error:
        raise CorruptImage(f"{layer}: not a layer ({error})") from error


def resolve(root: Path, name: str) -> Path:
    """Where `name` is in `root`, every symbolic link followed as if `root` were `/`."""
    pending = list(reversed(PurePosixPath(name).parts))
    at: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "/":
            at = []
        elif part == "..":
            at = at[:-1]
        elif (here := root.joinpath(*at, part)).is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise CorruptImage(f"{name}: too many symbolic links")
            pending.extend(reversed(PurePosixPath(here.readlink()).parts))
        else:
            at.append(part)
    return root.joinpath(*at)


def _is_whiteout(member: tarfile.TarInfo) -> bool:
    return PurePosixPath(member.name).name.startswith(WHITEOUT)


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise CorruptImage(f"a layer's member {name!r} would leave the image")


def _locate(root: Path, name: str) -> Path:
    """Where the member of that name belongs; `apply` has checked the name."""
    path = PurePosixPath(name)
    return resolve(root, str(path.parent)) / path.name


def _remove_hidden(root: Path, name: str) -> None:
    path = _locate(root, name)
    if path.name == OPAQUE:
        for child in path.parent.iterdir() if path.parent.is_dir() else ():
            _remove(child)
    elif path.name.startswith(WHITEOUT):
        hidden = path.name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise CorruptImage(f"a layer's member {name!r} would leave the image")
        _remove(path.with_name(hidden))


def _extract(
    tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, parents: dict[str, Path]
) -> None:
    """`parents` remembers where members' directories are, while nothing can have moved them."""
    name = PurePosixPath(member.name)
    above = parents.get(str(name.parent))
    path = _locate(root, member.name) if above is None else above / name.name
    if member.isdir():
        if path.is_symlink() or not path.is_dir():
            _remove(path)
            parents.clear()
            path.mkdir(parents=True)
        path.chmod(member.mode & 0o777 | 0o700)
        return
    if not (member.isfile() or member.issym() or member.islnk()):
        return
    if above is None:
        _make_parents(path, member.name)
    if os.path.lexists(path):
        _remove(path)
        parents.clear()
    parents[str(name.parent)] = path.parent
    if member.issym():
        path.symlink_to(_contained(root, path, member.linkname))
        parents.clear()
    elif member.islnk():
        source = resolve(root, member.linkname)
        if not source.is_file():
            raise CorruptImage(f"a layer's {member.name!r} links to {member.linkname!r}: not there")
        os.link(source, path)
    else:
        stream = tar.extractfile(member)
        assert stream is not None
        with path.open("xb") as file:
            shutil.copyfileobj(stream, file)
            os.fchmod(file.fileno(), member.mode & 0o777 | 0o600)


def _make_parents(path: Path, name: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CorruptImage(f"a layer's {name!r} is below something that is no directory") from None


def _contained(root: Path, path: Path, target: str) -> str:
    """A link's target so that it leads on this host where it leads inside the image."""
    directory = "/" + str(path.parent.relative_to(root))
    inside = posixpath.normpath(posixpath.join(directory, target))
    escapes = posixpath.normpath(posixpath.join(directory[1:], target)).startswith("..")
    if target.startswith("/") or escapes:
        return posixpath.relpath("/" + inside.lstrip("/"), posixpath.normpath(directory))
    return target


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)
