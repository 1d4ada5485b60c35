"""EC2's machine images of this account, found by their tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fearless.builtin.aws import code, explained
from fearless.builtin.packer import tags
from fearless.errors import ConfigError

Described = dict[str, Any]
"""A machine image as `describe_images` describes it."""


class MachineImages:
    """Those that a client of EC2 shows."""

    def __init__(self, client: Any, now: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self.client = client
        self.now = now

    def all(self, wanted: Mapping[str, str]) -> Sequence[Described]:
        """Every one that these filters let through (tags have a colon), oldest first."""
        with explained("asking EC2 for machine images"):
            pages = self.client.get_paginator("describe_images").paginate(
                Owners=["self"], Filters=tags.filters(wanted)
            )
            found = [image for page in pages for image in page["Images"]]
        return sorted(found, key=lambda image: str(image["CreationDate"]))

    def made_of(self, app: str, inputs: str) -> Described | None:
        """The newest one of these inputs that is complete, tested or not."""
        found = self.all({"fearless:app": app, tags.INPUTS: inputs, "state": "available"})
        return found[-1] if found else None

    def root_device(self, ami: str) -> str:
        """The root device of a base machine image, whoever owns it; ConfigError without one."""
        from botocore.exceptions import ClientError

        missing = ConfigError(
            f"[ami] source_ami = {ami!r}: there is no such machine image in "
            f"{self.client.meta.region_name} that this account may use; give the id of a Debian "
            "12 or Amazon Linux 2023 one"
        )
        with explained(f"looking for {ami}"):
            try:
                found = self.client.describe_images(ImageIds=[ami])["Images"]
            except ClientError as error:
                if code(error).startswith("InvalidAMIID"):
                    raise missing from None
                raise
        if not found:
            raise missing
        return str(found[0]["RootDeviceName"])

    def require_imdsv2(self, image: Described) -> None:
        """Have its instances answer for their metadata to IMDSv2 alone; packer 1.6 cannot."""
        if image.get("ImdsSupport") != "v2.0":
            with explained(f"requiring IMDSv2 of {image['ImageId']}"):
                self.client.modify_image_attribute(
                    ImageId=image["ImageId"], ImdsSupport={"Value": "v2.0"}
                )

    def mark(self, ami: str, evidence: str) -> None:
        """Have it found from now on."""
        value = f"{self.now():%Y-%m-%dT%H:%M:%SZ} {evidence}"[: tags.LIMIT]
        with explained(f"tagging {ami}"):
            self.client.create_tags(Resources=[ami], Tags=tags.to_aws({tags.TESTED: value}))

    def discard(self, ami: str, inputs: str) -> None:
        """Deregister it and delete what it is stored in; what is gone already is fine.

        A snapshot whose machine image is gone is still found by its inputs.
        """
        with explained(f"discarding {ami}"):
            for image in self.all({"image-id": ami}):
                remove(self.client, image)
            used = {s for image in self.all({tags.INPUTS: inputs}) for s in snapshots(image)}
            pages = self.client.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], Filters=tags.filters({tags.INPUTS: inputs})
            )
            for found in [str(one["SnapshotId"]) for page in pages for one in page["Snapshots"]]:
                if found not in used:
                    _remove_snapshot(self.client, found)


def snapshots(image: Mapping[str, Any]) -> Sequence[str]:
    """The ids of the snapshots that a machine image is stored in."""
    devices = image.get("BlockDeviceMappings") or ()
    found = [device.get("Ebs", {}).get("SnapshotId") for device in devices]
    return [str(snapshot) for snapshot in found if snapshot]


def remove(client: Any, image: Mapping[str, Any]) -> None:
    """Deregister a machine image, then delete its snapshots, which it holds until then."""
    gone = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")
    ignoring(gone, client.deregister_image, ImageId=image["ImageId"])
    for snapshot in snapshots(image):
        _remove_snapshot(client, snapshot)


def ignoring(codes: tuple[str, ...], call: Callable[..., Any], **arguments: Any) -> None:
    """Make a call; these error codes are as good as success."""
    from botocore.exceptions import ClientError

    try:
        call(**arguments)
    except ClientError as error:
        if code(error) not in codes:
            raise


def _remove_snapshot(client: Any, snapshot: str) -> None:
    ignoring(("InvalidSnapshot.NotFound",), client.delete_snapshot, SnapshotId=snapshot)
