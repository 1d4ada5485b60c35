"""Sentinels fit any key schema, and are known again whatever it is."""

from __future__ import annotations

import pytest

from fearless.data.sentinels import sentinel_key
from fearless.data.tables import SENTINEL_MARK, TableInfo
from fearless.data.validate import check


@pytest.mark.parametrize("hash_type", ["S", "N", "B"])
@pytest.mark.parametrize("range_type", ["S", "N", "B"])
def test_keys_of_every_type(hash_type: str, range_type: str) -> None:
    info = TableInfo("t", "i", "a", None, None, ("h", "r"), {"h": hash_type, "r": range_type}, 0, 0)
    keys = [sentinel_key(info, "token", n) for n in range(20)]
    for key in keys:
        check({**key, SENTINEL_MARK: {"S": "token"}}, info)
        assert info.sentinel({**key, SENTINEL_MARK: {"S": "token"}})
    assert len({info.key_id(key) for key in keys}) == 20
    assert keys == [sentinel_key(info, "token", n) for n in range(20)]
    assert not info.sentinel({"h": {hash_type: "1"}, "r": {range_type: "1"}})
