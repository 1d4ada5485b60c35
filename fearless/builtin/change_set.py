"""What is checked and shown before a stack is made: parameters, capabilities, resources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
) -> Iterator[str]:
    """Lines that show a change set: how much in all, then the resources by type."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for change in changes:
        resource = change["ResourceChange"]
        kinds[resource["ResourceType"]].append(resource["LogicalResourceId"])
    with_what = f" with {', '.join(capabilities)}" if capabilities else ""
    yield f"stack {stack_name}: {len(changes)} resources to create{with_what}"
    for kind, names in sorted(kinds.items()):
        yield f"  {kind}: {', '.join(sorted(names))}"


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags the way the CloudFormation API takes them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
