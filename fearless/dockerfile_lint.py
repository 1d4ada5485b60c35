"""What makes a Dockerfile slow to rebuild, or a risk: each finding has a line and a remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fearless.dockerfile import Instruction, Stage, pairs, stages

Level = Literal["warning", "info"]
Rule = Literal[
    "install-after-copy",
    "unpinned-base",
    "base-not-by-digest",
    "root-user",
    "no-healthcheck",
    "secret",
    "metadata-below-copy",
]


@dataclass(frozen=True)
class Finding:
    """`what` is wrong at that line, `why` it matters, and what to `do`. Never holds a secret."""

    rule: Rule
    level: Level
    line: int
    what: str
    why: str
    do: str

    def at(self, name: str) -> str:
        """`Dockerfile:6: warning: root-user: ...`, for people and for editors."""
        return f"{name}:{self.line}: {self.level}: {self.rule}: {self.what}: {self.why}; {self.do}"


def lint(
    instructions: Sequence[Instruction],
    arguments: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> tuple[Finding, ...]:
    """Everything found, by line, without the rules to `ignore`. `arguments` are values for ARG.

    Raises DockerfileError for what the grammar does not allow.
    """
    found = stages(instructions, arguments)
    rules: tuple[Callable[[Sequence[Stage]], Iterator[Finding]], ...] = (
        _installs,
        _bases,
        _user,
        _healthcheck,
        _metadata,
    )
    findings = [finding for rule in rules for finding in rule(found)] + list(_secrets(instructions))
    kept = (finding for finding in findings if finding.rule not in ignore)
    return tuple(sorted(kept, key=lambda finding: (finding.line, finding.rule)))


# ------------------------------------------------------------------------ rebuilding

_EVERYTHING = (".", "./", "/", "*", "./*")
_LOCAL = re.compile(r"(?:-\S+\s+)*(?:\.{1,2}(?:/\S*)?(?:\[\S*\])?\s*)+$")
_INSTALLS: Mapping[str, str] = {
    r"pip3? install": "requirements.txt",
    r"uv (?:sync|pip install)": "pyproject.toml and uv.lock",
    r"poetry install": "pyproject.toml and poetry.lock",
    r"pipenv (?:install|sync)": "Pipfile and Pipfile.lock",
    r"npm (?:ci|i|install)": "package.json and package-lock.json",
    r"yarn(?: install)?(?=\s*(?:$|&&|;|--))": "package.json and yarn.lock",
    r"pnpm (?:i|install)": "package.json and pnpm-lock.yaml",
    r"bundle install": "Gemfile and Gemfile.lock",
    r"composer install": "composer.json and composer.lock",
    r"go mod download": "go.mod and go.sum",
    r"cargo fetch": "Cargo.toml and Cargo.lock",
    r"(?:apt-get|apt|dnf|yum|microdnf)(?: -\S+)* install": "",
    r"apk(?: -\S+)* add": "",
}
"""What fetches dependencies, and the files that say which; none where the command itself does."""


def _installs(found: Sequence[Stage]) -> Iterator[Finding]:
    for stage in found:
        copied = 0
        for instruction in stage.instructions:
            if instruction.keyword in ("COPY", "ADD") and _copies_everything(instruction):
                copied = copied or instruction.line
            elif instruction.keyword == "RUN" and copied:
                yield from _install(instruction, copied)


def _copies_everything(instruction: Instruction) -> bool:
    if any(name == "from" for name, _ in instruction.flags):
        return False
    sources = (instruction.form or tuple(instruction.text.split()))[:-1]
    return any(source in _EVERYTHING for source in sources)


def _install(instruction: Instruction, copied: int) -> Iterator[Finding]:
    text = " ".join(instruction.form or (instruction.text,))
    for pattern, files in _INSTALLS.items():
        match = re.search(rf"(?:^|[\s;&|(/])({pattern})(?=[\s;&|)]|$)([^;&|]*)", text)
        if match is None or _LOCAL.fullmatch(re.sub("[\"']", "", match[2]).strip()):
            continue
        first = f"copy {files} alone and install above it" if files else "move it above"
        yield Finding(
            "install-after-copy",
            "warning",
            instruction.line,
            f"`{match[1]}` comes after the whole context was copied in line {copied}",
            "any changed file installs everything again",
            first,
        )
        return


def _metadata(found: Sequence[Stage]) -> Iterator[Finding]:
    """Of the last stage: what the app's files are copied after would never be built again."""
    constant = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "STOPSIGNAL")
    steps = found[-1].instructions
    copies = [at for at, step in enumerate(steps) if step.keyword in ("COPY", "ADD", "RUN")]
    below = steps[copies[-1] + 1 :] if copies else ()
    late = [step for step in below if step.keyword in constant and "$" not in step.text]
    if late:
        yield Finding(
            "metadata-below-copy",
            "info",
            late[0].line,
            f"{', '.join(dict.fromkeys(step.keyword for step in late))} below the last "
            f"{steps[copies[-1]].keyword}",
            "each is a step that every change builds again",
            f"move what is constant above line {steps[copies[-1]].line}",
        )


# ------------------------------------------------------------------------ the image


def _bases(found: Sequence[Stage]) -> Iterator[Finding]:
    for stage in found:
        line = stage.instructions[0].line
        name, _, digest = stage.image.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        if not stage.image or digest or not name:
            continue
        if tag in ("", "latest"):
            yield Finding(
                "unpinned-base",
                "warning",
                line,
                f"{stage.image} has no version",
                "the same commit builds something else tomorrow",
                "name a tag, or a digest: `FROM image:1.2@sha256:...`",
            )
        else:
            yield Finding(
                "base-not-by-digest",
                "info",
                line,
                f"{stage.image} is pinned by a tag",
                "a tag may be moved",
                "a digest cannot: `FROM image:tag@sha256:...`",
            )


def _user(found: Sequence[Stage]) -> Iterator[Finding]:
    stage = found[-1]
    users = [step for step in _inherited(stage) if step.keyword == "USER"]
    base = _first(stage).image
    if users:
        name = users[-1].text.strip().partition(":")[0]
        if name not in ("root", "0"):
            return
        line, what = users[-1].line, f"the container runs as {name}"
    elif "nonroot" in base or not base:
        return
    else:
        line, what = stage.instructions[0].line, "there is no USER, so the container runs as root"
    yield Finding(
        "root-user",
        "warning",
        line,
        what,
        "whoever breaks into the app owns the container",
        "end with `USER 1000`, or another user without rights",
    )


def _healthcheck(found: Sequence[Stage]) -> Iterator[Finding]:
    stage = found[-1]
    if not any(step.keyword == "HEALTHCHECK" for step in _inherited(stage)):
        yield Finding(
            "no-healthcheck",
            "info",
            stage.instructions[0].line,
            "there is no HEALTHCHECK",
            "Fearless asks the load balancer, but `docker ps` cannot tell a hanging app",
            "add one that asks the app's health path",
        )


def _inherited(stage: Stage) -> tuple[Instruction, ...]:
    """The instructions of a stage after those of the stages it starts from."""
    before = _inherited(stage.parent) if stage.parent else ()
    return before + stage.instructions


def _first(stage: Stage) -> Stage:
    return _first(stage.parent) if stage.parent else stage


# ------------------------------------------------------------------------ secrets

_NAMED = re.compile(
    r"(?:(?:^|_)(?:password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key|"
    r"credentials?)|_pwd)(?:_(?:id|key|base|value))*\d*$",
    re.IGNORECASE,
)
_SHAPED = re.compile(
    r"(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_\w{30,}|github_pat_\w{20,}|glpat-[\w-]{20,}|"
    r"xox[abprs]-[\w-]{10,}|sk_live_\w{16,}|-----BEGIN [A-Z ]*PRIVATE KEY|"
    r"[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@$]+@"
)
_DENSE = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
_BITS = 4.2
"""Bits a character of random base64 has at least; words, paths and hex digits have less."""


def _secrets(instructions: Sequence[Instruction]) -> Iterator[Finding]:
    for step in instructions:
        if step.keyword not in ("ARG", "ENV"):
            continue
        for name, value in _assigned(step):
            meant = step.keyword == "ARG" if not value else not value.startswith("/")
            named = bool(_NAMED.search(name)) and meant
            if not named and not _SHAPED.search(value) and not _random(value):
                continue
            yield Finding(
                "secret",
                "warning",
                step.line,
                f"{step.keyword} {name} {'sounds' if named else 'looks'} like a secret",
                "whoever has the image can read it, also when a later line unsets it",
                "give it to the running app, or to one RUN by `--mount=type=secret`",
            )


def _assigned(step: Instruction) -> list[tuple[str, str]]:
    """Names with values as written: `$X` stays `$X`, so that it is not taken for nothing."""
    if step.keyword == "ARG":
        found = (word.partition("=") for word in step.text.split())
        return [(name, value.strip("\"'")) for name, _, value in found]
    try:
        return pairs(step.text.replace("$", r"\$"), {})
    except ValueError:
        return []


def _random(value: str) -> bool:
    if not _DENSE.fullmatch(value) or value.startswith("/"):
        return False
    kinds = (str.isupper, str.islower, str.isdigit)
    if not all(any(kind(each) for each in value) for kind in kinds):
        return False
    shares = [value.count(each) / len(value) for each in set(value)]
    return -sum(share * math.log2(share) for share in shares) >= _BITS
