"""Typed items for property tests: every type DynamoDB has, and other spellings of equal ones."""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from fearless.data.canonical import number

digits = st.integers(-(10**38) + 1, 10**38 - 1)
numbers = st.builds(lambda n, e: str(Decimal(n).scaleb(e)), digits, st.integers(-80, 80)).filter(
    lambda text: Decimal(text) == 0 or -130 <= Decimal(text).adjusted() <= 125
)
few_numbers = st.sampled_from(["0", "-0", "1", "1.0", "1E0", "10", "1E1", "-1", "0.1", "1E-1", "2"])
texts = st.text(max_size=8)
few_texts = st.sampled_from(["", "a", "N", 'N":"1', '"N":"1.0"', "\\", 'S":["', "é", "\0"])


def scalars(numbers: Any, texts: Any, binaries: Any) -> Any:
    return st.one_of(
        texts.map(lambda s: {"S": s}),
        binaries.map(lambda b: {"B": b}),
        numbers.map(lambda n: {"N": n}),
        st.booleans().map(lambda b: {"BOOL": b}),
        st.just({"NULL": True}),
        st.lists(texts, min_size=1, max_size=4, unique=True).map(lambda s: {"SS": s}),
        st.lists(binaries, min_size=1, max_size=4, unique=True).map(lambda s: {"BS": s}),
        st.lists(numbers, min_size=1, max_size=4, unique_by=number).map(lambda s: {"NS": s}),
    )


def nested(scalars: Any, names: Any) -> Any:
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda v: {"L": v}),
            st.dictionaries(names, inner, max_size=3).map(lambda v: {"M": v}),
        ),
        max_leaves=8,
    )


values = nested(scalars(numbers, texts, st.binary(max_size=8)), st.text(max_size=4))
items = st.dictionaries(st.text(min_size=1, max_size=5), values, max_size=5)

few_names = st.sampled_from(["N", "S", "SS", "B", "L", "M", "a"])
few_values = nested(
    scalars(few_numbers, few_texts, st.sampled_from([b"", b"\0", b"\xff\xfe", b"abc"])), few_names
)
few_items = st.dictionaries(few_names, few_values, max_size=3)


@st.composite
def respelled(draw: Any, value: Any) -> Any:
    """The same typed value, as a table might spell it otherwise."""
    ((kind, raw),) = value.items()
    match kind:
        case "N":
            return {"N": draw(_spelling(raw))}
        case "B":
            return {"B": b64encode(raw).decode() if draw(st.booleans()) else raw}
        case "L":
            return {"L": [draw(respelled(member)) for member in raw]}
        case "M":
            return {"M": draw(respelled_item(raw))}
        case "SS":
            return {"SS": draw(st.permutations(raw))}
        case "NS":
            return {"NS": [draw(_spelling(member)) for member in draw(st.permutations(raw))]}
        case "BS":
            text = draw(st.booleans())
            members = draw(st.permutations(raw))
            return {"BS": [b64encode(member).decode() for member in members] if text else members}
        case _:
            return dict(value)


@st.composite
def respelled_item(draw: Any, item: Any) -> Any:
    return {name: draw(respelled(item[name])) for name in draw(st.permutations(sorted(item)))}


def _spelling(text: str) -> Any:
    plain = format(Decimal(text), "f")
    return st.sampled_from(
        [
            text,
            plain,
            f"{plain}.0" if "." not in plain else f"{plain}00",
            f"{Decimal(text):E}",
            f"+{plain}" if not plain.startswith("-") else plain,
            f"00{plain}" if not plain.startswith("-") else plain,
        ]
    )
