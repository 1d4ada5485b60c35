"""A build by BuildKit, through the `docker` command: faster, and secrets leave no trace."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fearless import dockerfile
from fearless.builtin.builds.order import Order
from fearless.builtin.builds.progress import BuildFailed, Progress, Step
from fearless.dockerfile import Instruction
from fearless.errors import FearlessError

_VERTEX = re.compile(r"#(\d+) (.*)")
_STEP = re.compile(r"\[(?:(\S+) )?(\d+)/(\d+)\] (.*)")
_SAID = re.compile(r"\d+\.\d+ ?(.*)")
_LAYERS = ("ADD", "COPY", "RUN", "WORKDIR")
_CHOOSE_AN_ENGINE = ("DOCKER_CONTEXT", "BUILDX_BUILDER")
_SECRET = "FEARLESS_SECRET_"
_LOST = ("Cannot connect to the Docker daemon", "error during connect", "rpc error", "EOF")
_NO_BUILDX = "buildx component is missing"
_NEEDED = "install docker-buildx, or leave `buildkit` out of [container]"


def command(order: Order, iidfile: Path) -> list[str]:
    """`docker build` with its context on standard input."""
    args = {"BUILDKIT_INLINE_CACHE": "1", **order.args}
    return [
        *("docker", "build", "--progress=plain", f"--file={order.dockerfile}"),
        *(f"--iidfile={iidfile}", f"--tag={order.tag}"),
        *(f"--label={name}={value}" for name, value in order.labels.items()),
        *(f"--build-arg={name}={value}" for name, value in args.items()),
        *(f"--cache-from={name}" for name in order.cache_from),
        *(f"--secret=id={name},env={_SECRET}{n}" for n, name in enumerate(order.secrets)),
        *([f"--target={order.target}"] if order.target else []),
        *([f"--network={order.network}"] if order.network else []),
        *(["--no-cache"] if order.nocache else []),
        "-",
    ]


def environment(
    order: Order, host: str, directory: Path, environ: Mapping[str, str]
) -> dict[str, str]:
    """What the command runs with: the secrets, which are in no file that a `kill -9` would leave,
    and a configuration of its own in `directory`, without anybody's credentials. Plugins (buildx)
    are found where the user has them."""
    usual = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")
    plugins = {"cliPluginsExtraDirs": [str(usual / "cli-plugins")]}
    (directory / "config.json").write_text(json.dumps(plugins))
    mine = {"DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": str(directory), "DOCKER_HOST": host}
    if environ.get("DOCKER_TLS_VERIFY"):
        mine["DOCKER_CERT_PATH"] = environ.get("DOCKER_CERT_PATH") or str(usual)
    others = {name: environ[name] for name in environ if name not in _CHOOSE_AN_ENGINE}
    secrets = {f"{_SECRET}{n}": value for n, value in enumerate(order.secrets.values())}
    return {**others, **mine, **secrets}


def operations(instructions: Iterable[Instruction]) -> dict[tuple[str, int], Instruction]:
    """The instruction of each step as BuildKit numbers them: by stage, and only what makes layers.

    https://github.com/moby/buildkit/blob/v0.8.0/frontend/dockerfile/dockerfile2llb/convert.go
    """
    found: dict[tuple[str, int], Instruction] = {}
    stages = dockerfile.stages(instructions)
    for place, stage in enumerate(stages):
        name = (stage.name or f"stage-{place}") if len(stages) > 1 else ""
        steps = [each for each in stage.instructions if each.keyword in _LAYERS]
        if stage.image:
            steps.insert(0, stage.instructions[0])
        found |= {(name, number): each for number, each in enumerate(steps, 1)}
    return found


class BuildKit:
    """Runs one build and reads what it prints. The engine stops a build whose client is killed."""

    def __init__(self, order: Order, progress: Progress) -> None:
        self.order = order
        self.progress = progress
        self.operations = operations(order.instructions)
        self.failed: Step | None = None
        self.why = ""
        self.others: list[str] = []
        self._late = False

    def run(self, host: str, work: Path) -> str:
        """Build on the engine at `host`; the image's id. `work` is a folder for what it needs.

        Raises BuildFailed, and FearlessError where there is no `docker` command.
        """
        if not shutil.which("docker"):
            raise FearlessError(
                "`[container] buildkit` needs the `docker` command, which is not in PATH (Debian "
                "and Ubuntu: `apt-get install docker.io`)"
            )
        iidfile = work / "iid"
        env = environment(self.order, host, work, os.environ)
        with self.order.archive.open("rb") as context:
            code = self._follow(command(self.order, iidfile), env, context.fileno())
        if self._late:
            raise self.progress.late(self.order.timeout)
        if code or not iidfile.exists():
            raise self._failure(code)
        return iidfile.read_text().strip()

    def _follow(self, argv: Sequence[str], env: Mapping[str, str], context: int) -> int:
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=context,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        timer = threading.Timer(self.order.timeout, self._end, (process,))
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    self.read(line.rstrip("\n"))
            return process.wait()
        finally:
            timer.cancel()
            _kill(process)

    def _end(self, process: subprocess.Popen[str]) -> None:
        self._late = True
        _kill(process)

    def read(self, line: str) -> None:
        """Take in one line of `--progress=plain`."""
        self.progress.write(line)
        vertex = _VERTEX.fullmatch(line)
        if vertex is None:
            self.others += [line.strip()] if line.strip() else []
            return
        number, text = vertex.groups()
        step = self.progress.steps.get(number)
        if title := _STEP.fullmatch(text):
            stage, at, total, rest = title.groups()
            instruction = self.operations.get((stage or "", int(at)))
            self.progress.begin(number, rest, instruction, int(at), int(total))
        elif step is None:
            return
        elif text == "CACHED":
            step.cached = True
        elif text.startswith("ERROR: "):
            self.failed, self.why = step, text.removeprefix("ERROR: ")
        elif said := _SAID.fullmatch(text):
            step.said.append(said[1])

    def _failure(self, code: int) -> BuildFailed:
        if any(_NO_BUILDX in line for line in self.others):
            return BuildFailed(f"this `docker` command has no BuildKit: {_NEEDED}")
        if self.failed is not None:
            status = re.search(r"exit code: (\d+)", self.why)
            what = f"exit code {status[1]}" if status else self.why
            return self.progress.failure(what, self.failed)
        said = self.others[-1] if self.others else "it said nothing"
        if any(word in said for word in _LOST):
            return self.progress.lost(said)
        return self.progress.interrupted(f"`docker build` ended with exit code {code}: {said}")


def _kill(process: subprocess.Popen[str]) -> None:
    """End it with whatever it started; over already is fine."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
