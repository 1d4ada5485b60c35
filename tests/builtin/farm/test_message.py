"""A message is read strictly: whatever the queue holds, it is an order or one clear refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fearless.builtin.farm.message import (
    LIMIT,
    InvalidMessage,
    Options,
    Order,
    key,
    named,
    parse,
)
from tests.builtin.farm.given import OPTIONS
from tests.images import SHA

ORDER = Order(
    id=f"{key('shop', SHA, OPTIONS)}.1",
    repository="shop",
    ref="main",
    sha=SHA,
    requested_by="ann@laptop",
    options=OPTIONS,
)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,11}", fullmatch=True)
PATHS = st.lists(
    st.from_regex(r"[a-z0-9_]{1,8}(\.[a-z]{1,3})?", fullmatch=True), min_size=1, max_size=4
)
ARGS = st.dictionaries(
    st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True),
    st.text(st.characters(categories=["L", "N", "P"]), max_size=20),
    max_size=3,
)


def changed(**values: Any) -> str:
    """The order's message with fields set; `options_x` is one of its options."""
    data = json.loads(ORDER.body())
    for name, value in values.items():
        holder = data["options"] if name.startswith("options_") else data
        holder[name.removeprefix("options_")] = value
    return json.dumps(data)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    options = Options(
        app=draw(NAMES),
        folder="/".join(draw(PATHS)),
        source="/".join(draw(PATHS)),
        dockerfile="/".join(draw(PATHS)),
        target=draw(st.none() | st.just("prod")),
        args=draw(ARGS),
        timeout=draw(st.integers(1, 39600)),
    )
    sha = draw(st.from_regex(r"[0-9a-f]{40}", fullmatch=True))
    repository = draw(NAMES)
    number = draw(st.integers(1, 9999))
    return Order(
        id=f"{key(repository, sha, options)}.{number}",
        repository=repository,
        ref=draw(st.text(st.characters(categories=["L", "N"]), max_size=30)),
        sha=sha,
        branch=draw(st.none() | st.just("feature/x")),
        options=options,
    )


@given(orders())
def test_what_is_sent_is_what_is_read(order: Order) -> None:
    assert parse(order.body()) == order
    assert named(order.body()) == order.id


@settings(max_examples=30)
@given(orders(), orders())
def test_ids_differ_with_what_is_built(one: Order, other: Order) -> None:
    same = (one.repository, one.sha, one.options) == (other.repository, other.sha, other.options)
    assert (one.key == other.key) == same


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text() | JSON.map(json.dumps))
def test_anything_else_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(InvalidMessage):
        parse(text)
    assert named(text) is None


@given(st.sampled_from(sorted(json.loads(ORDER.body()))), JSON)
def test_a_field_of_another_kind_is_refused_or_is_what_it_says(name: str, value: Any) -> None:
    text = changed(**{name: value})
    try:
        assert json.loads(parse(text).body()) == json.loads(text)
    except InvalidMessage as error:
        assert "\n" not in str(error)


@given(st.text(max_size=30))
def test_no_path_leads_out_of_the_repository(path: str) -> None:
    try:
        options = Options(app="shop", source=path)
    except ValueError:
        return
    parts = options.source.split("/")
    assert options.source == "." or not {"", ".", ".."}.intersection(parts)
    assert not options.source.startswith(("/", "-"))
    assert options.source.isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "larger than|not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "has version None, and this worker knows 1"),
        (changed(v=2), "has version 2, and this worker knows 1"),
        (changed(v=True), "has version True"),
        (changed(extra=1), "message's extra: Extra inputs are not permitted"),
        (changed(options_privileged=True), "options.privileged: Extra inputs are not permitted"),
        (changed(sha="main"), "message's sha: String should match"),
        (changed(sha=SHA.upper()), "message's sha: "),
        (changed(sha=SHA[:39] + "1"), "content: .*the id is not that of what is to be built"),
        (changed(id="x; rm -rf /"), "message's id: "),
        (changed(repository="../../etc"), "message's repository: "),
        (changed(repository="-c"), "message's repository: "),
        (changed(ref="a\nb"), "message's ref: .*printable"),
        (changed(options_source="../secrets"), "options.source: .*without `..`"),
        (changed(options_source="/etc"), "options.source: "),
        (changed(options_folder="a/./b"), "options.folder: "),
        (changed(options_dockerfile="--output=x"), "options.dockerfile: "),
        (changed(options_dockerfile="a$(id)"), "options.dockerfile: "),
        (changed(options_args={"A B": "x"}), "options.args"),
        (changed(options_args={"A": "x\ny"}), "options.args.A: .*printable"),
        (changed(options_timeout="60"), "options.timeout: "),
        (changed(options_timeout=10**6), "options.timeout: "),
        (changed(ref="x" * LIMIT), "larger than 16384 bytes"),
        (changed(requested_by="\udcff"), "requested_by: .*unicode"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidMessage, match=message):
        parse(text)


def test_an_invalid_message_may_still_name_its_build() -> None:
    assert named(changed(v=9)) == ORDER.id
    assert named(changed(id="x")) is None
