"""A file is imported as it is now, not as it was compiled."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fearless import source


def test_a_change_within_the_same_second_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "plugin.py"
    for value in (1, 2):
        path.write_text(f"VALUE = {value}\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        assert value == source.load(path, "a_plugin").VALUE
    assert sys.modules.pop("a_plugin").__file__ == str(path)
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def test_what_raises_leaves_no_module(tmp_path: Path) -> None:
    path = tmp_path / "plugin.py"
    path.write_text("raise SystemExit(3)\n")
    with pytest.raises(SystemExit):
        source.load(path, "a_plugin")
    assert "a_plugin" not in sys.modules
    path.write_text("this is no Python\n")
    with pytest.raises(SyntaxError, match=r"plugin\.py"):
        source.load(path, "a_plugin")
    assert "a_plugin" not in sys.modules
