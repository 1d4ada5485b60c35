"""Pages and windows that are serialised once; only a number is set in before each is sent."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.items import SIZE, item, key

PAGE = 1024 * 1024 // SIZE
"""Items in a page of a scan: DynamoDB sends 1 MB of items."""

WINDOW = 1000
"""Records in an answer of GetRecords: DynamoDB's limit."""

_MARK = "99999999"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _number(page: int) -> bytes:
    return b"%08d" % page


class Pages:
    """A table of `count` items, page by page; where a page begins does not depend on segments."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pages = -(-count // PAGE)
        self._items = [_json(item(n, _MARK)) for n in range(min(count, PAGE))]
        self._full = b",".join(self._items)

    def scan(self, segment: int, total: int, start: int | None, limit: int | None) -> bytes:
        """The answer of a Scan that goes on at item `start` of the table."""
        end = min(self.count, self.pages * (segment + 1) // total * PAGE)
        if start is None:
            start = self.pages * segment // total * PAGE
        page, offset = divmod(start, PAGE)
        stop = min(end, (page + 1) * PAGE, start + (limit or PAGE))
        size = max(0, stop - start)
        whole = size == PAGE
        body = self._full if whole else b",".join(self._items[offset : offset + size])
        parts = [b'{"Count":%d,"Items":[' % size, body.replace(_MARK.encode(), _number(page)), b"]"]
        if stop < end:
            parts.append(b',"LastEvaluatedKey":%b' % _json(key(stop, "next")))
        parts.append(b',"ScannedCount":%d}' % size)
        return b"".join(parts)

    @staticmethod
    def position(start_key: dict[str, Any] | None) -> int | None:
        """Where a Scan goes on, by its ExclusiveStartKey."""
        return int(start_key["object"]["S"].rpartition("-")[2]) if start_key else None


class Records:
    """A shard of `count` changes, each with both images, stamped `time`."""

    def __init__(self, count: int, time: int) -> None:
        self.count = count
        self._time = time
        self._all = [self._record(number) for number in range(min(WINDOW, count))]

    def _record(self, number: int) -> bytes:
        old, new = (item(number, _MARK, stock) for stock in (number, number + 7))
        change = {
            "ApproximateCreationDateTime": self._time,
            "Keys": key(number, _MARK),
            "NewImage": new,
            "OldImage": old,
            "SequenceNumber": f"1{_MARK}{number:04d}",
            "SizeBytes": 2 * SIZE,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        }
        record = {
            "awsRegion": "us-east-1",
            "dynamodb": change,
            "eventID": f"{_MARK}{number:024d}",
            "eventName": "MODIFY",
            "eventSource": "aws:dynamodb",
            "eventVersion": "1.1",
        }
        return _json(record)

    def read(self, start: int, limit: int = WINDOW) -> bytes:
        """The answer of a GetRecords at record `start`; the shard stays open."""
        window, offset = divmod(start, WINDOW)
        stop = min(self.count, (window + 1) * WINDOW, start + limit)
        chosen = self._all[offset : offset + max(0, stop - start)]
        body = b",".join(chosen).replace(_MARK.encode(), _number(window))
        return b'{"NextShardIterator":"%b","Records":[%b]}' % (self.iterator(stop), body)

    @staticmethod
    def iterator(position: int) -> bytes:
        """An iterator that reads on from record `position`."""
        return b"canned:%d" % position

    @staticmethod
    def after(sequence: str) -> int:
        """The position after the record with that sequence number."""
        window, number = divmod(int(sequence[1:]), 10_000)
        return window * WINDOW + number + 1
