"""Earlier images a build may take steps from: the branch's, the default branch's, the live one.

A classic build that is given images takes steps from those alone, and forgets what the engine
itself remembers, such as the steps of a build that failed. So images are given only where the
engine has not built the newest of them itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fearless import names, oci_reference
from fearless.builtin.builds.progress import one_line
from fearless.errors import explain
from fearless.interfaces import Login, Release, RemoteRegistry, Report

if TYPE_CHECKING:
    from docker import DockerClient

OWN = "this engine"
_ABSENT = ("not found", "manifest unknown", "name unknown", "does not exist")


@dataclass(frozen=True)
class Candidate:
    """An earlier image by its tag; `what` is how people know it."""

    tag: str
    what: str


@dataclass(frozen=True)
class Earlier:
    """An earlier image that the engine holds; `own` when the engine built it itself."""

    name: str
    what: str
    own: bool


class History:
    """What was built before, asked of a project. One without git, or a ledger, has less of it."""

    def __init__(self, project: object) -> None:
        self.git: Any = getattr(project, "git", None)
        self.project: Any = project

    def branch(self, release: Release) -> str | None:
        """The branch that is being built."""
        if release.branch or self.git is None:
            return release.branch
        found: str | None = self.git.branch(release.sha)
        return found

    def source(self) -> str:
        """The remote the code is kept at, as git has it."""
        return str(self.git.remote_url()) if self.git is not None else ""

    def candidates(self, release: Release, report: Report) -> tuple[Candidate, ...]:
        """What may be near to this release, the nearest first."""
        default = self.git.default_branch() if self.git is not None else None
        found = [
            Candidate(names.branch_tag(branch), f"branch {branch}")
            for branch in (self.branch(release), default)
            if branch
        ]
        if live := self._live(report):
            found.append(live)
        return tuple({candidate.tag: candidate for candidate in reversed(found)}.values())[::-1]

    def _live(self, report: Report) -> Candidate | None:
        cloud = getattr(self.project, "cloud", None)
        try:
            live = self.project.ledger.live() if cloud is not None and cloud.running() else None
        except Exception as error:
            explained = explain(error)
            if explained is None:
                raise
            report.line(f"note: the live release is not looked for as a cache: {explained}")
            return None
        return Candidate(live.sha, f"live {live.release}") if live else None


class Finder:
    """Gets earlier images into the engine, from the registry where it is one that engines reach."""

    def __init__(self, client: DockerClient, registry: object, report: Report) -> None:
        self.client = client
        self.remote = registry if isinstance(registry, RemoteRegistry) else None
        self.report = report

    def find(
        self, app: str, candidates: Sequence[Candidate], given: Sequence[str] = ()
    ) -> tuple[Earlier, ...]:
        """Those there are, up to the first that the engine built itself, and those `given`.

        One that does not exist is left out; a registry that does not answer is not asked again.
        """
        found = list(self._nearest(app, candidates))
        for name in given:
            elsewhere = oci_reference.parse(name).registry  # never a stranger's on Docker Hub
            if has_image(self.client, name) or (elsewhere and not self._pull(name)):
                found.append(self._earlier(name, name))
        return tuple(found)

    def _nearest(self, app: str, candidates: Sequence[Candidate]) -> Iterator[Earlier]:
        for candidate in candidates:
            mine = f"{app}:{candidate.tag}"
            name = self.remote.name(app, candidate.tag) if self.remote is not None else ""
            if not name or self._pull(name):
                name = mine
            if has_image(self.client, name):
                earlier = self._earlier(name, candidate.what)
                yield earlier
                if earlier.own:
                    return

    def _earlier(self, name: str, what: str) -> Earlier:
        return Earlier(name, what, built_here(self.client, name))

    def _pull(self, name: str) -> str:
        """Get it from the registry; why not, or an empty string."""
        login = self.remote.login() if self.remote is not None else None
        why = pull(self.client, name, self.report, login)
        if why and not any(words in why for words in _ABSENT):
            self.report.line(f"note: no cache from {name}: {why}")
            self.remote = None
        return why


def choose(found: Sequence[Earlier]) -> tuple[list[str], str]:
    """The images to give to a classic build, and where its cached steps come from."""
    if all(earlier.own for earlier in found):
        return [], OWN
    return [earlier.name for earlier in found], origin(found)


def origin(found: Sequence[Earlier]) -> str:
    """Where cached steps come from, for people."""
    return ", ".join(earlier.what for earlier in found) or OWN


def has_image(client: DockerClient, name: str) -> bool:
    """Whether the engine holds an image of that name."""
    from docker.errors import ImageNotFound

    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def built_here(client: DockerClient, name: str) -> bool:
    """Whether the engine's own cache knows every step of an image.

    One that was pulled has no parent, and a step that was taken from a given image lacks the
    command of its container, which is what the cache is searched by. An engine whose API does not
    tell (1.45 and newer) is taken not to know.
    """
    image, steps = client.images.get(name).attrs, 0
    while image.get("Parent"):
        if not (image.get("ContainerConfig") or {}).get("Cmd"):
            return False
        image, steps = client.images.get(image["Parent"]).attrs, steps + 1
    return steps > 0


def pull(client: DockerClient, name: str, report: Report, login: Login | None = None) -> str:
    """Pull one image; why that is not possible, in one line, or an empty string.

    `login` is for the registry it names only; without one, the user's own credentials serve.
    """
    from docker.errors import APIError, DockerException
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(name)
    auth = None
    if login is not None and name.startswith(f"{login.server}/"):
        auth = {"username": login.username, "password": login.password}
    try:
        events = client.api.pull(
            repository, tag or "latest", stream=True, decode=True, auth_config=auth
        )
        for event in events:
            if "error" in event:
                return one_line(event["error"])
            report.progress("docker pull", 0, None, f"{name} {event.get('status', '')}")
    except APIError as error:
        return one_line(error.explanation or error)
    except (DockerException, OSError) as error:
        return one_line(error)
    return ""
