"""What the stub servers answer is what a table of that many different items would."""

from __future__ import annotations

import json

import pytest

from benchmarks.canned import PAGE, WINDOW, Pages, Records
from benchmarks.items import SIZE, item
from fearless.data.validate import size


def keys(pages: Pages, total: int, limit: int | None = None) -> list[tuple[str, str]]:
    found = []
    for segment in range(total):
        start: dict[str, dict[str, str]] | None = None
        while True:
            answer = json.loads(pages.scan(segment, total, Pages.position(start), limit))
            assert answer["Count"] == len(answer["Items"]) <= (limit or PAGE)
            found += [(each["store"]["S"], each["object"]["S"]) for each in answer["Items"]]
            start = answer.get("LastEvaluatedKey")
            if not start:
                break
    return found


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 3 * PAGE + 17])
@pytest.mark.parametrize("total", [1, 2, 7])
def test_every_item_is_in_one_segment(count: int, total: int) -> None:
    pages = Pages(count)
    found = keys(pages, total)
    assert len(found) == len(set(found)) == count
    assert set(found) == set(keys(pages, 1))


def test_a_limit_is_kept() -> None:
    pages = Pages(PAGE + 300)
    assert sorted(keys(pages, 2, 250)) == sorted(keys(pages, 2))


def test_an_item_has_its_size() -> None:
    assert {size(item(number)) for number in range(1000)} == {SIZE}


def test_records_come_once_and_in_order() -> None:
    records = Records(2 * WINDOW + 5, 1_700_000_000)
    start, numbers, seen = 0, [], set()
    while start < records.count:
        answer = json.loads(records.read(start))
        for record in answer["Records"]:
            change = record["dynamodb"]
            numbers.append(int(change["SequenceNumber"]))
            seen.add((change["Keys"]["store"]["S"], change["Keys"]["object"]["S"]))
            assert change["OldImage"] != change["NewImage"]
        start = int(answer["NextShardIterator"].partition(":")[2])
        assert Records.after(str(numbers[-1])) == start
    assert numbers == sorted(set(numbers))
    assert len(seen) == len(numbers) == records.count
    assert json.loads(records.read(start))["Records"] == []
