"""An ECR repository as an app needs it: release tags never move, images are scanned, waste expires.

Only untagged images expire. A rule for `cache-*` tags would delete an image with all its tags,
and a release's image may have such a tag as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fearless.builtin.registries.remote import MOVING

Facts = Mapping[str, Any]
IMMUTABLE = "IMMUTABLE_WITH_EXCLUSION"


def request(name: str, app: str) -> dict[str, Any]:
    """What CreateRepository is asked for."""
    return {
        "repositoryName": name,
        "imageTagMutability": IMMUTABLE,
        "imageTagMutabilityExclusionFilters": [
            {"filterType": "WILDCARD", "filter": pattern} for pattern in MOVING
        ],
        "imageScanningConfiguration": {"scanOnPush": True},
        "tags": [{"Key": "fearless:app", "Value": app}],
    }


def policy(untagged_days: int) -> str:
    """The lifecycle policy: what lost its last tag that long ago is deleted."""
    return json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "description": "Fearless: images without a tag",
                    "selection": {
                        "tagStatus": "untagged",
                        "countType": "sinceImagePushed",
                        "countUnit": "days",
                        "countNumber": untagged_days,
                    },
                    "action": {"type": "expire"},
                }
            ]
        }
    )


def ensure(client: Any, name: str, app: str, untagged_days: int) -> None:
    """Make the repository if there is none; one that is somebody else's is left as it is.

    Finishes what a process that was killed in between has left of ours.
    """
    arn = describe(client, name).get("repositoryArn")
    if arn is None:
        try:
            arn = client.create_repository(**request(name, app))["repository"]["repositoryArn"]
        except client.exceptions.RepositoryAlreadyExistsException:
            arn = describe(client, name)["repositoryArn"]  # another process was quicker
    if lifecycle(client, name) is None and _ours(client, arn, app):
        client.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=policy(untagged_days))


def describe(client: Any, name: str) -> Facts:
    """What ECR says of a repository; empty when there is none."""
    try:
        (found,) = client.describe_repositories(repositoryNames=[name])["repositories"]
    except client.exceptions.RepositoryNotFoundException:
        return {}
    return dict(found)


def lifecycle(client: Any, name: str) -> str | None:
    """The repository's lifecycle policy, if it has one."""
    try:
        return str(client.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"])
    except client.exceptions.LifecyclePolicyNotFoundException:
        return None


def _ours(client: Any, arn: str, app: str) -> bool:
    tags = client.list_tags_for_resource(resourceArn=arn)["tags"]
    return {"Key": "fearless:app", "Value": app} in tags


def deviations(repository: Facts, lifecycle: str | None) -> Sequence[str]:
    """What about an existing repository is not as Fearless would have made it, a line for each."""
    name = repository["repositoryName"]
    found = []
    tags, excluded = repository.get("imageTagMutability", "MUTABLE"), _excluded(repository)
    if tags == "IMMUTABLE":
        found.append(
            f"ECR repository {name}: no tag may move, so {' and '.join(MOVING)} cannot be used "
            f"(imageTagMutability is IMMUTABLE, not {IMMUTABLE})"
        )
    elif tags != IMMUTABLE:
        found.append(
            f"ECR repository {name}: tags of releases may be moved by others "
            f"(imageTagMutability is {tags}, not {IMMUTABLE})"
        )
    elif excluded != set(MOVING):
        found.append(
            f"ECR repository {name}: the tags that may move are {', '.join(sorted(excluded))}, "
            f"not {' and '.join(MOVING)}"
        )
    if not (repository.get("imageScanningConfiguration") or {}).get("scanOnPush"):
        found.append(f"ECR repository {name}: images are not scanned when pushed (scanOnPush)")
    return [*found, *(f"ECR repository {name}: {text}" for text in _lifecycle(lifecycle))]


def _excluded(repository: Facts) -> set[str]:
    filters = repository.get("imageTagMutabilityExclusionFilters") or ()
    return {str(entry["filter"]) for entry in filters}


def _lifecycle(text: str | None) -> list[str]:
    if text is None:
        return ["it has no lifecycle policy, so untagged images stay for ever"]
    rules = json.loads(text).get("rules", [])
    return [
        f"rule {rule.get('rulePriority', '?')} of its lifecycle policy expires images that have a "
        "tag: a release's image may be deleted while it is in use"
        for rule in rules
        if rule["selection"].get("tagStatus") != "untagged"
    ]
