"""Which container images there are, what needs each of them, and which may go.

Deciding is a pure function of the images, their uses and the time. An image is what one digest
names, with all its tags: it stays or goes with all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fearless.interfaces import Inventory, Stack, StoredImage
from fearless.procedure import Done, Procedure
from fearless.status import releases

KEEP = 20
"""How many of the newest images stay, whatever uses them, unless keep= says otherwise."""

DAYS = 30.0
"""How old an image must be to go, in days, unless days= says otherwise."""

_OURS = re.compile(r"[0-9a-f]{40}|branch-.*|cache-.*")


@dataclass(frozen=True)
class Use:
    """Something that needs images: `what` in words, `needs` their SHAs, digests or ids."""

    what: str
    needs: frozenset[str]


@dataclass(frozen=True)
class Decision:
    """What becomes of an image: all tags of one digest, and why it stays or goes."""

    images: tuple[StoredImage, ...]
    stays: bool
    why: str

    @property
    def tags(self) -> tuple[str, ...]:
        """Every tag of it."""
        return tuple(stored.image.tag for stored in self.images)


# ------------------------------------------------------------------------ deciding: pure


def grouped(stored: Iterable[StoredImage]) -> list[tuple[StoredImage, ...]]:
    """The images by digest, newest first; one whose age nobody knows counts as new."""
    found: dict[tuple[str, str], list[StoredImage]] = {}
    for one in stored:
        found.setdefault((one.image.repository, one.image.digest), []).append(one)
    groups = [tuple(sorted(group, key=lambda one: one.image.tag)) for group in found.values()]
    return sorted(groups, key=lambda group: (_created(group), group[0].image.tag), reverse=True)


def used_by(group: Sequence[StoredImage], uses: Iterable[Use]) -> list[str]:
    """What needs an image, in words."""
    names = {
        name for one in group for name in (one.image.tag, one.image.digest, one.image.image_id)
    }
    return list(dict.fromkeys(use.what for use in uses if names & use.needs))


def decide(
    stored: Iterable[StoredImage], uses: Sequence[Use], keep: int, days: float, now: datetime
) -> list[Decision]:
    """What becomes of each image, newest first.

    One goes only if nothing uses it, it is not among the `keep` newest, it is known to be older
    than `days`, and all its tags are ones that Fearless makes.
    """
    return [
        _decision(group, used_by(group, uses), place < keep, days, now)
        for place, group in enumerate(grouped(stored))
    ]


def _decision(
    group: tuple[StoredImage, ...], uses: list[str], newest: bool, days: float, now: datetime
) -> Decision:
    age = (now - _created(group)).total_seconds() / 86400
    others = [one.image.tag for one in group if not _OURS.fullmatch(one.image.tag)]
    if uses:
        return Decision(group, True, f"used by {', '.join(uses)}")
    if others:
        return Decision(group, True, f"tagged {', '.join(others)} by somebody")
    if any(one.created is None for one in group):
        return Decision(group, True, "nobody knows how old it is")
    if age <= days:
        return Decision(group, True, f"{age:.1f} days old (days={days:g})")
    if newest:
        return Decision(group, True, "one of the newest (keep=)")
    return Decision(group, False, f"{age:.0f} days old, and nothing uses it")


def _created(group: Sequence[StoredImage]) -> datetime:
    """When the youngest of its tags was made."""
    far = datetime.max.replace(tzinfo=UTC)
    return max(one.created or far for one in group)


# ------------------------------------------------------------------------ asking the world


def stored_images(procedure: Procedure) -> list[StoredImage]:
    """Every tagged image of the app, with size and age where the registry knows them."""
    registry, app = procedure.project.registry, procedure.release.app
    if isinstance(registry, Inventory):
        found: Iterable[StoredImage] = registry.stored()
    else:
        found = [StoredImage(image) for image in registry.list()]
    return [stored for stored in found if stored.image.repository == app]


def uses(procedure: Procedure) -> list[Use]:
    """Everything that needs an image: stacks, machine images, releases and dev stacks."""
    project, ledger, app = procedure.project, procedure.ledger, procedure.release.app
    live = procedure.live()
    found = [Use(f"the release {live.release} (live)", frozenset({live.sha}))] if live else []
    for stack in project.provisioner.list(app):
        needs = {stack.sha, *_digests(stack.outputs.get("ContainerImage"))}
        if stack.kind == "dev":
            needs.update(_digests(project.deployer.deployed(stack)))
        found.append(Use(_described(stack), frozenset(needs)))
    for baked in project.baker.list(app):
        inside = {name for image in baked.images for name in (image.digest, image.image_id)}
        found.append(Use(f"the machine image {baked.id}", frozenset({baked.sha, *inside})))
    for entry in releases(ledger.releases(), live.sha if live else None):
        if entry["state"] != "deleted":
            what = f"the release {entry['name']} ({entry['state']})"
            found.append(Use(what, frozenset({entry["sha"]})))
    for row in ledger.all("DEV"):
        needs = {row["sha"], *row.get("shas", ())}
        found.append(Use(f"the dev stack of {row['branch']}", frozenset(needs)))
    return [Use(use.what, use.needs - {""}) for use in found]


def _described(stack: Stack) -> str:
    return f"the {'dev ' if stack.kind == 'dev' else ''}stack {stack.name}"


def _digests(reference: str | None) -> list[str]:
    """The digest of `repository@sha256:...`."""
    digest = (reference or "").rpartition("@")[2]
    return [digest] if digest.startswith("sha256:") else []


# ------------------------------------------------------------------------ the two verbs


def listing(procedure: Procedure) -> Done:
    """Every image, newest first, with what uses it; and what is wrong with the registry."""
    registry, needed = procedure.project.registry, uses(procedure)
    now = datetime.fromtimestamp(procedure.ledger.clock(), UTC)
    images = [
        {**_facts(one), "uses": used_by(group, needed)}
        for group in grouped(stored_images(procedure))
        for one in group
    ]
    wrong = list(registry.deviations()) if isinstance(registry, Inventory) else []
    lines = [_line(image, now) for image in images] or ["  no image yet: `doit image` builds one"]
    lines += [f"  note: {text}" for text in wrong]
    return Done("\n".join(lines), {"images": images, "deviations": wrong})


def reap(procedure: Procedure, keep: int, days: float, act: bool) -> Done:
    """Delete what may go, or only say what that is. Each is looked at again right before."""
    now = datetime.fromtimestamp(procedure.ledger.clock(), UTC)
    if act:
        procedure.lock.hold()
    decisions = decide(stored_images(procedure), uses(procedure), keep, days, now)
    deleted = []
    for number, decision in enumerate(decisions):
        if act and not decision.stays:
            decisions[number] = _delete(procedure, decision)
            deleted += list(decision.tags if not decisions[number].stays else ())
    document = {
        "deleted": deleted,
        "kept": {tag: d.why for d in decisions if d.stays for tag in d.tags},
        "would_delete": [tag for d in decisions if not d.stays and not act for tag in d.tags],
    }
    verb = "deleted" if act else "would go"
    lines = [f"  {'kept' if d.stays else verb:<9} {_tags(d.tags)}: {d.why}" for d in decisions]
    if not any(not d.stays for d in decisions):
        lines.append("  nothing to delete")
    elif not act:
        lines.append("  nothing was deleted: `doit image_reap yes=1` deletes what would go")
    return Done("\n".join(lines), document)


def _delete(procedure: Procedure, decision: Decision) -> Decision:
    """Delete all tags of an image, unless something uses it by now."""
    if using := used_by(decision.images, uses(procedure)):
        return Decision(decision.images, True, f"used by {', '.join(using)} by now")
    for stored in decision.images:
        procedure.report.line(f"deleting {stored.image.repository}:{stored.image.tag}")
        procedure.project.registry.delete(stored.image)
    return decision


def _facts(stored: StoredImage) -> dict[str, Any]:
    image, created = stored.image, stored.created
    return {
        "tag": image.tag,
        "reference": image.reference,
        "image_id": image.image_id,
        "size": stored.size,
        "created": created.astimezone(UTC).isoformat(timespec="seconds") if created else None,
        "note": stored.note,
    }


def _line(image: Mapping[str, Any], now: datetime) -> str:
    size = f"{image['size'] / 1e6:.1f} MB" if image["size"] is not None else "-"
    age = "-"
    if image["created"]:
        days = (now - datetime.fromisoformat(image["created"])).total_seconds() / 86400
        age = f"{max(days, 0):.0f} days"
    digest = image["reference"].partition("@")[2][:19]
    needed = ", ".join(image["uses"]) or "nothing uses it"
    note = f"  {image['note']}" if image["note"] else ""
    return f"  {_tags([image['tag']]):<12} {digest}  {size:>10}  {age:>8}  {needed}{note}"


def _tags(tags: Iterable[str]) -> str:
    return ", ".join(tag[:12] if re.fullmatch(r"[0-9a-f]{40}", tag) else tag for tag in tags)
