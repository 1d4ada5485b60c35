"""How a MiniStack CloudFormation handler is extended without copying it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Attributes = dict[str, Any]
Properties = Mapping[str, Any]
After = Callable[[str, Properties, Attributes], Attributes]


def register(kind: str, handlers: Mapping[str, Any]) -> None:
    """Offer a resource type that MiniStack lacks."""
    from ministack.services.cloudformation import provisioners

    provisioners._RESOURCE_HANDLERS[kind] = dict(handlers)


def after(kind: str, do: After) -> None:
    """Run `do(physical id, properties, attributes)` after each create and update of `kind`.

    What it returns becomes the resource's attributes (`Fn::GetAtt`).
    """
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS[kind]
    original_create, original_update = handlers["create"], handlers.get("update")

    def create(logical_id: str, properties: Properties, stack: str) -> tuple[str, Attributes]:
        physical_id, attributes = original_create(logical_id, properties, stack)
        return physical_id, do(physical_id, properties, attributes)

    def update(
        physical_id: str, old: Properties, new: Properties, *rest: Any, **named: Any
    ) -> tuple[str, Attributes]:
        assert original_update is not None
        physical_id, attributes = original_update(physical_id, old, new, *rest, **named)
        return physical_id, do(physical_id, new, attributes)

    handlers["create"] = create
    if original_update is not None:
        handlers["update"] = update


def before_delete(kind: str, check: Callable[[str], None]) -> None:
    """Run `check(physical id)` before each delete of `kind`; what it raises fails the delete."""
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS[kind]
    original = handlers["delete"]

    def delete(physical_id: str, *rest: Any) -> None:
        check(physical_id)
        original(physical_id, *rest)

    handlers["delete"] = delete
