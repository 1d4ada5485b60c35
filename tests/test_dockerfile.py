"""The Dockerfile grammar: lines, forms, flags, quotes, variables."""

from __future__ import annotations

import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless.dockerfile import (
    DockerfileError,
    Instruction,
    Operator,
    bases,
    command,
    expand,
    pairs,
    parse,
    words,
)

DOCKERFILE = """# syntax=docker/dockerfile:1
ARG VERSION=3.11
FROM python:${VERSION}-slim

WORKDIR   /app
# a comment
run pip install \\
    # a comment inside
    -r requirements.txt \\

    && true
COPY --chown=1:2 --chmod=755 ["a b", "/dest/"]
HEALTHCHECK --interval=5s CMD ["python", "-c", "1"]
CMD [ "python", "-m", "shop" ]
ENTRYPOINT [not json
"""


def test_instructions_keep_their_lines() -> None:
    found = parse(DOCKERFILE)
    assert [(i.keyword, i.line) for i in found] == [
        ("ARG", 2),
        ("FROM", 3),
        ("WORKDIR", 5),
        ("RUN", 7),
        ("COPY", 12),
        ("HEALTHCHECK", 13),
        ("CMD", 14),
        ("ENTRYPOINT", 15),
    ]
    assert found[3].text.split() == "pip install -r requirements.txt && true".split()
    assert found[4].flags == (("chown", "1:2"), ("chmod", "755"))
    assert found[4].form == ("a b", "/dest/")
    assert found[5].flags == (("interval", "5s"),)
    assert found[6].form == ("python", "-m", "shop")
    assert found[7].form is None


def test_an_instruction_reads_as_it_was_written() -> None:
    (_, copy) = parse("FROM a\ncopy --chown=1 --link x   y\n")
    assert str(copy) == "COPY --chown=1 --link x   y"


def test_a_here_document_is_not_read_as_instructions() -> None:
    found = parse("FROM a\nRUN <<EOF\nFROM not an instruction\nEOF\nUSER 1\n")
    assert [(i.keyword, i.heredoc, i.line) for i in found] == [
        ("FROM", False, 1),
        ("RUN", True, 2),
        ("USER", False, 5),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM"),
        ("# nothing\n", "no FROM"),
        ("RUN x\nFROM a\n", "Dockerfile:1: RUN before the first FROM"),
        ("FROM a\n\nENVV a=b\n", r"Dockerfile:3: unknown instruction 'ENVV' \(did you mean 'ENV'"),
        ("FROM\n", "Dockerfile:1: FROM needs an argument"),
        ("FROM a\nRUN <<EOF\nx\n", "Dockerfile:2: the here-document EOF does not end"),
        ("# escape=`\nFROM a\n", "Dockerfile:1: only the escape character"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("'a b' \"c d\" e\\ f", ["a b", "c d", "e f"]),
        ("$A ${A} x${A}y", ["1", "1", "x1y"]),
        ("'$A' \\$A \"$A\"", ["$A", "$A", "1"]),
        ("${NO:-x} ${A:-x} ${EMPTY:-x} ${EMPTY-x}", ["x", "1", "x", ""]),
        ("${NO:+x} ${A:+x} ${NO:-${A}}", ["", "x", "1"]),
        ("$", ["$"]),
        ('""', [""]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text, {"A": "1", "EMPTY": ""}) == expected


def test_a_variable_with_spaces_is_one_word_except_in_a_shell() -> None:
    assert words("$A", {"A": "x y"}) == ["x y"]
    assert command('$A "$A"', {"A": "x y"}) == ["x", "y", "x y"]


def test_operators_are_told_from_words() -> None:
    found = command("a && b 'c && d' | e; f > g $(h) `i`", {})
    operators = [word for word in found if isinstance(word, Operator)]
    assert operators == ["&&", "|", ";", ">", "$(", ")", "`", "`"]
    assert "c && d" in found


@pytest.mark.parametrize("text", ["${A", "${A#x}", "${}", "${1}"])
def test_what_is_not_a_variable_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        expand(text, {})


def test_pairs() -> None:
    assert pairs('A=1 B="x y" C=$D', {"D": "4"}) == [("A", "1"), ("B", "x y"), ("C", "4")]
    assert pairs("A  some words", {}) == [("A", "some words")]
    for text in ("A", "A=1 B", "=1"):
        with pytest.raises(ValueError, match="KEY=VALUE"):
            pairs(text, {})


PLAIN = st.text(string.ascii_letters + string.digits + " /._-'\"\\|&;<>()`", max_size=20)


@given(st.lists(PLAIN, max_size=5))
def test_quoted_words_come_back(items: list[str]) -> None:
    assert command(shlex.join(items), {}) == items
    assert not any(isinstance(word, Operator) for word in command(shlex.join(items), {}))


@given(st.text())
def test_any_text_is_instructions_or_one_clear_error(text: str) -> None:
    try:
        assert all(isinstance(i, Instruction) for i in parse(text))
    except DockerfileError as error:
        assert "\n" not in str(error) or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("FROM python:3.11", {}, ("python:3.11",)),
        ("ARG V=3.11\nFROM python:$V", {}, ("python:3.11",)),
        ("ARG V=3.11\nFROM python:$V", {"V": "3.12"}, ("python:3.12",)),
        ("FROM a AS b\nFROM b\nFROM scratch\nFROM c as d", {}, ("a", "c")),
        ("FROM --platform=linux/amd64 a", {}, ("a",)),
    ],
)
def test_bases(text: str, arguments: dict[str, str], expected: tuple[str, ...]) -> None:
    assert bases(parse(text), arguments) == expected
