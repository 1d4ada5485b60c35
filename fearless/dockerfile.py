"""A Dockerfile's grammar: instructions with their line numbers, exec and shell forms, variables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fearless.errors import FearlessError, suggest

KEYWORDS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL"),
    *("MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)

_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|$)")
_FLAGGED = ("FROM", "COPY", "ADD", "RUN", "HEALTHCHECK")
_HEREDOC = re.compile(r"(?:^|\s)<<-?([\"']?)([A-Za-z_]\w*)\1")
_NAME = re.compile(r"[A-Za-z_]\w*")
_OPERATORS = "&|;<>()`"


class DockerfileError(FearlessError):
    """The Dockerfile is not valid, or asks for something that cannot be done here."""


class Operator(str):
    """A shell operator among the words of a command, such as `&&`."""

    __slots__ = ()


@dataclass(frozen=True)
class Instruction:
    """One instruction. `text` is what follows the keyword and flags, its lines joined.

    `line` is where it starts; `form` the exec (JSON) form when it is written so, else None;
    `heredoc` is true when it reads a here-document, whose lines are not in `text`.
    """

    keyword: str
    line: int
    text: str
    flags: tuple[tuple[str, str], ...] = ()
    form: tuple[str, ...] | None = None
    heredoc: bool = False

    def __str__(self) -> str:
        flags = [f"--{name}={value}" if value else f"--{name}" for name, value in self.flags]
        return " ".join([self.keyword, *flags, self.text])


def parse(text: str, name: str = "Dockerfile") -> tuple[Instruction, ...]:
    """The instructions of a Dockerfile, in order; `name` is what errors call the file."""
    _check_escape(text, name)
    lines = iter(list(enumerate(text.splitlines(), 1)))
    found = []
    for number, logical in _logical(lines):
        keyword, _, rest = logical.partition(" ")
        if keyword.upper() not in KEYWORDS:
            hint = suggest(keyword.upper(), KEYWORDS)
            raise DockerfileError(f"{name}:{number}: unknown instruction {keyword!r}{hint}")
        instruction = _instruction(keyword.upper(), number, rest.strip(), lines, name)
        if not instruction.text:
            raise DockerfileError(f"{name}:{number}: {keyword} needs an argument")
        found.append(instruction)
    if not any(instruction.keyword == "FROM" for instruction in found):
        raise DockerfileError(f"{name}: there is no FROM instruction")
    first = next(i for i in found if i.keyword != "ARG")
    if first.keyword != "FROM":
        raise DockerfileError(f"{name}:{first.line}: {first.keyword} before the first FROM")
    return tuple(found)


def exec_form(text: str) -> tuple[str, ...] | None:
    """`["a", "b"]` as words; None for the shell form (which includes JSON that is not valid)."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return tuple(value)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace variables and remove quotes, as Docker does in one argument."""
    return "".join(_Scanner(text, variables, shell=False, split=False).words())


def words(text: str, variables: Mapping[str, str]) -> list[str]:
    """The words of an instruction, unquoted, with variables replaced."""
    return _Scanner(text, variables, shell=False).words()


def command(text: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a shell command as `sh` would see them; operators are `Operator`s."""
    return _Scanner(text, variables, shell=True).words()


def pairs(text: str, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """`a=b c="d e"` of ENV and LABEL, or their old form `a b c`; raises ValueError for neither."""
    head = text.split(None, 1)
    if "=" not in head[0]:
        if len(head) < 2:
            raise ValueError(f"{text!r} is not KEY=VALUE")
        return [(head[0], expand(head[1], variables))]
    found = []
    for word in words(text, variables):
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise ValueError(f"{word!r} is not KEY=VALUE")
        found.append((key, value))
    return found


def bases(
    instructions: Iterable[Instruction],
    arguments: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """The images a Dockerfile starts from, without its own stages and `scratch`."""
    found = (stage.image for stage in stages(instructions, arguments) if stage.image)
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Stage:
    """A stage of a build, with its FROM first. `name` is in lower case, empty without AS.

    `image` is the image it starts from, empty for `scratch` and for another stage: its `parent`.
    """

    name: str
    image: str
    parent: Stage | None
    instructions: tuple[Instruction, ...]


def stages(
    instructions: Iterable[Instruction],
    arguments: Mapping[str, str] | None = None,
    target: str | None = None,
) -> tuple[Stage, ...]:
    """The stages in order, up to `target` (a name or a number) where there is one.

    Raises DockerfileError for a FROM that cannot be read.
    """
    variables: dict[str, str] = {}
    blocks: list[list[Instruction]] = []
    for instruction in instructions:
        if instruction.keyword == "FROM":
            blocks.append([])
        elif instruction.keyword == "ARG" and not blocks:
            key, _, default = expand(instruction.text, variables).partition("=")
            variables[key] = (arguments or {}).get(key, default)
        if blocks:
            blocks[-1].append(instruction)
    found: list[Stage] = []
    for number, block in enumerate(blocks):
        try:
            image, *rest = words(block[0].text, variables)
        except ValueError as error:
            raise DockerfileError(f"line {block[0].line}: {block[0]}: {error}") from None
        name = rest[1].lower() if len(rest) == 2 and rest[0].upper() == "AS" else ""
        parent = next((stage for stage in found if stage.name == image.lower()), None)
        external = parent is None and image.lower() != "scratch"
        found.append(Stage(name, image if external else "", parent, tuple(block)))
        if target is not None and target.lower() in (name, str(number)):
            break
    return tuple(found)


# --------------------------------------------------------------------------------- lines


def _check_escape(text: str, name: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        directive = re.fullmatch(r"#\s*(\w+)\s*=\s*(\S+)\s*", line)
        if not directive:
            return
        if directive[1].lower() == "escape" and directive[2] != "\\":
            raise DockerfileError(f"{name}:{number}: only the escape character \\ is understood")


def _logical(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Join continuation lines; comments and empty lines may stand between them."""
    for number, line in lines:
        joined = ""
        part = line.strip()
        if not part or part.startswith("#"):
            continue
        while part.endswith("\\"):
            joined += part[:-1]
            part = _continuation(lines)
        yield number, re.sub(r"^(\S+)\s+", r"\1 ", joined + part)


def _continuation(lines: Iterator[tuple[int, str]]) -> str:
    for _, line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            return line.rstrip()
    return ""


def _instruction(
    keyword: str, number: int, rest: str, lines: Iterator[tuple[int, str]], name: str
) -> Instruction:
    flags = []
    while keyword in _FLAGGED and (match := _FLAG.match(rest)):
        flags.append((match[1], match[2] or ""))
        rest = rest[match.end() :]
    ends = []
    if keyword in ("RUN", "COPY", "ADD"):
        ends = [match[2] for match in _HEREDOC.finditer(rest)]
    for end in ends:
        if not any(line.strip() == end for _, line in lines):
            raise DockerfileError(f"{name}:{number}: the here-document {end} does not end")
    return Instruction(keyword, number, rest, tuple(flags), exec_form(rest), bool(ends))


# --------------------------------------------------------------------------------- words


class _Scanner:
    """Reads words the way a shell does: quotes, escapes, variables and, for RUN, operators."""

    def __init__(
        self, text: str, variables: Mapping[str, str], *, shell: bool, split: bool = True
    ) -> None:
        self.text = text
        self.variables = variables
        self.shell = shell
        self.split = split
        self.at = 0
        self.word: list[str] | None = None
        self.found: list[str] = []

    def words(self) -> list[str]:
        """Every word and operator, in order."""
        readers: dict[str, Callable[[], None]] = {
            "'": self._single,
            '"': self._double,
            "\\": self._escape,
            "$": self._variable,
        }
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in readers:
                readers[character]()
            elif character.isspace() and self.split:
                self._end()
                self.at += 1
            elif self.shell and character in _OPERATORS:
                self._operator(character)
            else:
                self._add(character)
                self.at += 1
        self._end()
        return self.found

    def _add(self, text: str) -> None:
        self.word = [*(self.word or ()), text]

    def _end(self) -> None:
        if self.word is not None:
            self.found.append("".join(self.word))
        self.word = None

    def _operator(self, character: str) -> None:
        self._end()
        start = self.at
        while self.at < len(self.text) and self.text[self.at] == character:
            self.at += 1
        self.found.append(Operator(self.text[start : self.at]))

    def _single(self) -> None:
        end = self.text.find("'", self.at + 1)
        end = len(self.text) if end < 0 else end
        self._add(self.text[self.at + 1 : end])
        self.at = end + 1

    def _double(self) -> None:
        self.at += 1
        self._add("")
        while self.at < len(self.text) and self.text[self.at] != '"':
            if self.text[self.at] == "$":
                self._variable(quoted=True)
            elif self.text[self.at] == "\\":
                self._escape(quoted=True)
            else:
                self._add(self.text[self.at])
                self.at += 1
        self.at += 1

    def _escape(self, quoted: bool = False) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        keep = quoted and following not in ('"', "$", "\\")
        self._add("\\" + following if keep or not following else following)
        self.at += 2

    def _variable(self, quoted: bool = False) -> None:
        self.at += 1
        if self.text.startswith("{", self.at):
            value = self._braces()
        elif match := _NAME.match(self.text, self.at):
            self.at = match.end()
            value = self.variables.get(match[0], "")
        elif self.shell and self.text.startswith("(", self.at):
            self._end()
            self.found.append(Operator("$("))
            self.at += 1
            return
        else:
            value = "$"
        if self.shell and not quoted:
            self._split_value(value)
        else:
            self._add(value)

    def _split_value(self, value: str) -> None:
        for index, part in enumerate(re.split(r"\s+", value)):
            if index:
                self._end()
            if part:
                self._add(part)

    def _braces(self) -> str:
        depth = 1
        start = self.at + 1
        end = start
        while end < len(self.text):
            depth += {"{": 1, "}": -1}.get(self.text[end], 0)
            if not depth:
                break
            end += 1
        inside = self.text[start:end]
        self.at = end + 1
        match = re.fullmatch(rf"({_NAME.pattern})(?:(:?)([-+])(.*))?", inside, re.DOTALL)
        if depth or not match:
            raise ValueError(f"${{{inside}}} is not understood")
        name, colon, operator, other = match.groups()
        value = self.variables.get(name)
        present = bool(value) if colon else value is not None
        if operator == "+":
            return expand(other, self.variables) if present else ""
        if operator == "-" and not present:
            return expand(other, self.variables)
        return value or ""
