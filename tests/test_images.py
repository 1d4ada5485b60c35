"""What may go and what stays, decided for any images and any uses; nothing in use ever goes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fearless.images import Decision, Use, decide, grouped
from fearless.interfaces import Image, StoredImage

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def stored(tag: str, number: int, age: float | None) -> StoredImage:
    """An image whose digest and id are made of `number`, `age` days old."""
    image = Image("shop", tag, f"sha256:{number:064x}", f"sha256:{number + (1 << 200):064x}")
    return StoredImage(image, 1000, None if age is None else NOW - timedelta(days=age))


def sha(number: int) -> str:
    return f"{number:040x}"


def by_tag(decisions: Sequence[Decision]) -> dict[str, Decision]:
    return {tag: decision for decision in decisions for tag in decision.tags}


def test_every_reason_to_stay() -> None:
    images = [
        stored(sha(1), 1, 100),
        stored("branch-main", 1, 1),
        stored(sha(2), 2, 100),
        stored(sha(3), 3, 100),
        stored(sha(4), 4, 100),
        stored(sha(5), 5, None),
        stored(sha(6), 6, 29.5),
        stored(sha(7), 7, 100),
        stored("v1.2", 7, 100),
        stored(sha(8), 8, 31),
        stored(sha(9), 9, 100),
        stored("branch-old", 9, 99),
    ]
    uses = [
        Use("the stack a", frozenset({sha(2)})),
        Use("the stack b", frozenset({images[3].image.digest, sha(99)})),
        Use("the machine image c", frozenset({images[4].image.image_id})),
        Use("the release d (live)", frozenset({sha(2)})),
    ]
    found = by_tag(decide(images, uses, 0, 30, NOW))
    assert {tag: decision.why for tag, decision in found.items() if decision.stays} == {
        sha(1): "1.0 days old (days=30)",
        "branch-main": "1.0 days old (days=30)",
        sha(2): "used by the stack a, the release d (live)",
        sha(3): "used by the stack b",
        sha(4): "used by the machine image c",
        sha(5): "nobody knows how old it is",
        sha(6): "29.5 days old (days=30)",
        sha(7): "tagged v1.2 by somebody",
        "v1.2": "tagged v1.2 by somebody",
    }
    assert {tag: decision.why for tag, decision in found.items() if not decision.stays} == {
        sha(8): "31 days old, and nothing uses it",
        sha(9): "99 days old, and nothing uses it",
        "branch-old": "99 days old, and nothing uses it",
    }


def test_the_newest_stay() -> None:
    images = [stored(sha(number), number, 40 + number) for number in range(5)]
    found = decide(images, [], 2, 30, NOW)
    assert [decision.tags for decision in found if decision.stays] == [(sha(0),), (sha(1),)]
    assert found[0].why == "one of the newest (keep=)"


numbers = st.integers(0, 7)
ages = st.none() | st.floats(0, 90, allow_nan=False)
tags = numbers.map(sha) | st.sampled_from(["branch-a", "cache-a", "latest", "v1"])
images_of = st.lists(
    st.builds(stored, tags, numbers, ages), max_size=12, unique_by=lambda one: one.image.tag
)
uses_of = st.lists(
    st.builds(
        Use,
        st.just("something"),
        st.frozensets(
            numbers.map(sha)
            | numbers.map(lambda n: stored("x", n, 0).image.digest)
            | numbers.map(lambda n: stored("x", n, 0).image.image_id),
            max_size=3,
        ),
    ),
    max_size=3,
)


@given(images_of, uses_of, st.integers(0, 5), st.integers(0, 60))
def test_nothing_in_use_goes_and_everything_is_decided_once(
    images: list[StoredImage], uses: list[Use], keep: int, days: int
) -> None:
    decisions = decide(images, uses, keep, days, NOW)
    decided = [one for decision in decisions for one in decision.images]
    assert sorted(one.image.tag for one in decided) == sorted(one.image.tag for one in images)
    assert [decision.images for decision in decisions] == grouped(images)
    needed = {name for use in uses for name in use.needs}
    newest = {one.image.tag for group in grouped(images)[:keep] for one in group}
    for decision in decisions:
        group = decision.images
        assert len({one.image.digest for one in group}) == 1
        names = {n for one in group for n in (one.image.tag, one.image.digest, one.image.image_id)}
        protected = (
            bool(names & needed)
            or any(tag in newest for tag in decision.tags)
            or any(tag in ("latest", "v1") for tag in decision.tags)
            or any(one.created is None for one in group)
            or any(one.created and NOW - one.created <= timedelta(days=days) for one in group)
        )
        assert decision.stays == protected, decision.why


@given(images_of, uses_of, st.integers(0, 5), st.integers(0, 60))
def test_keeping_more_never_deletes_more(
    images: list[StoredImage], uses: list[Use], keep: int, days: int
) -> None:
    def going(keep: int, days: int, uses: list[Use]) -> set[str]:
        decisions = decide(images, uses, keep, days, NOW)
        return {tag for decision in decisions if not decision.stays for tag in decision.tags}

    before = going(keep, days, uses)
    assert going(keep + 1, days, uses) <= before
    assert going(keep, days + 5, uses) <= before
    assert going(keep, days, [*uses, Use("more", frozenset({sha(1)}))]) <= before
