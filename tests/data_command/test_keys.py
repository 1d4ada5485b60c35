"""Keys on the command line keep every digit and byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless.data.tables import TableInfo
from fearless.data_command.keys import parse, written
from fearless.errors import ConfigError


def table(**types: str) -> TableInfo:
    return TableInfo("t", "i", "a", None, None, tuple(types), types, 0, 0)


@pytest.mark.parametrize(
    "key",
    [
        {"a": {"S": 'quote " and ü'}, "b": {"N": "12345678901234567890123456789012345678"}},
        {"a": {"S": ""}, "b": {"N": "-1.5"}},
    ],
)
def test_what_is_written_can_be_read(key: dict[str, dict[str, str]]) -> None:
    assert parse(written(key), table(a="S", b="N")) == key


@given(st.binary())
def test_binary(data: bytes) -> None:
    text = written({"a": {"B": data}})
    assert written(parse(text, table(a="B"))) == text


def test_typed_values_are_taken_too() -> None:
    assert parse('{"a": {"S": "x"}}', table(a="S")) == {"a": {"S": "x"}}
    assert parse('{"a": {"N": "7"}}', table(a="N")) == {"a": {"N": "7"}}


@pytest.mark.parametrize(
    ("text", "types", "told"),
    [
        ("x", {"a": "S"}, "not JSON"),
        ("[]", {"a": "S"}, r"the key of t is a \(S\), no more, no less"),
        ('{"a": "x", "c": 1}', {"a": "S"}, "no more, no less"),
        ('{"a": 1}', {"a": "S"}, "1 is not a string"),
        ('{"a": "1"}', {"a": "N"}, "'1' is not a number"),
        ('{"a": true}', {"a": "N"}, "True is not a number"),
        ('{"a": {"N": "x"}}', {"a": "N"}, "'x' is not a number"),
        ('{"a": "x"}', {"a": "B"}, "write binary as"),
        ('{"a": {"B": "?"}}', {"a": "B"}, "not base64"),
    ],
)
def test_others_are_refused(text: str, types: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(text, table(**types))
