"""README.md lists every setting, and only those there are."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from fearless_s3_registry.registry import S3Registry

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [\w ]+ \| (.+?) \|", README, re.M)
    shown = {"required": inspect.Parameter.empty, "none": "", "`false`": False}
    parameters = dict(inspect.signature(S3Registry).parameters)
    del parameters["cloud"]
    assert {name: shown[default] for name, default in rows} == {
        name: parameter.default for name, parameter in parameters.items()
    }
