"""What the suite itself relies on when it is run in several processes."""

from __future__ import annotations

import pytest


def test_a_file_stays_in_one_process(request: pytest.FixtureRequest) -> None:
    """Files share what is dear to make. pytest 9.2 loses xdist's groups without a word."""
    config = request.config
    if not hasattr(config, "workerinput") or not config.getvalue("loadgroup"):
        pytest.skip("not run with -n and --dist loadgroup")
    assert request.node.nodeid.endswith(f"@{request.path.relative_to(config.rootpath)}")
