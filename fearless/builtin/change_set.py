"""What is checked and shown before a stack is made: parameters, capabilities, resources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fearless.errors import ConfigError, Refused, suggest
from fearless.template import parse


def check_parameters(template: str, given: Mapping[str, str]) -> None:
    """Raise ConfigError for a parameter the template does not have, or one it lacks."""
    declared: dict[str, Any] = parse(template, "the template").get("Parameters", {})
    for name in sorted(given):
        if name not in declared:
            raise ConfigError(
                f"the template has no parameter {name!r}{suggest(name, declared)} "
                f"(have: {', '.join(sorted(declared)) or 'none'})"
            )
    missing = [name for name, one in declared.items() if "Default" not in one and name not in given]
    if missing:
        raise ConfigError(
            f"the template's parameter {', '.join(sorted(missing))} has no default and got no "
            "value: set it under [stack.parameters] in release.toml"
        )


def check_capabilities(summary: Mapping[str, Any], allowed: Iterable[str]) -> list[str]:
    """What the template needs to be allowed, or Refused when that was not agreed to."""
    needed = list(summary.get("Capabilities", []))
    for capability in needed:
        if capability not in allowed:
            raise Refused(
                f"the template needs {capability} ({summary.get('CapabilitiesReason', '')}): "
                "agree with `capabilities` under [stack] in release.toml, "
                f"which allows {', '.join(sorted(allowed))}"
            )
    return needed


def what_it_makes(
    stack_name: str, changes: Sequence[Mapping[str, Any]], capabilities: Sequence[str]
) -> str:
    """One line that shows a change set: how many resources in all, and how many of each type."""
    kinds = Counter(change["ResourceChange"]["ResourceType"] for change in changes)
    shown = (
        kind.removeprefix("AWS::") + (f" x{count}" if count > 1 else "")
        for kind, count in sorted(kinds.items())
    )
    with_what = f" with {', '.join(capabilities)}" if capabilities else ""
    return f"stack {stack_name}: {len(changes)} resources{with_what}: {', '.join(shown)}"


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags the way the CloudFormation API takes them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
