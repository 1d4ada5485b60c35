"""One contract suite per plugin slot: subclass it, give it your provider, and run pytest.

A registry plugin's whole test of the rules is:

    import pytest
    from fearless.testing.contracts import RegistryContract
    from fearless_quay import Quay

    class TestQuay(RegistryContract):
        @pytest.fixture
        def provider(self):
            return Quay(organisation="acme-test", project=None)

Every test calls things twice: making twice is making once, deleting tolerates what is gone,
`find` returns None for what is absent. What a suite works on (a release, an image, a stack, a
template) is a fixture too, with a default where one suits everybody: override it when your
provider needs something else. A fixture without a default says so when it is asked for:

    class TestBaker(AmiBakerContract):
        @pytest.fixture
        def images(self, ...): ...      # images your baker can reach
        @pytest.fixture
        def provider(self, ...): ...

`a_release(app)`, `an_image(directory, release, text)` and `explained()` (what happens inside fails
with one line that a person can act on) are for your own tests, too.

Every name is random, and what a test makes it deletes: a suite may run against a real account.
`stand_in = True` on the class is for providers that are only pretended, as fakes are: what
needs real bytes, engines or clocks is then skipped.

Needs pytest; nothing else in `fearless.testing` does, but its own pytest plugin.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "bakers",
            "builders",
            "clouds",
            "deployers",
            "dns",
            "engines",
            "given",
            "provisioners",
            "registries",
            "secrets",
            "stores",
        )
    )
)

from fearless.testing.contracts.bakers import AmiBakerContract, BootTestContract  # noqa: E402
from fearless.testing.contracts.builders import ContainerBuilderContract  # noqa: E402
from fearless.testing.contracts.clouds import CloudContract  # noqa: E402
from fearless.testing.contracts.deployers import DeployerContract  # noqa: E402
from fearless.testing.contracts.dns import DnsProviderContract  # noqa: E402
from fearless.testing.contracts.engines import CopyEngineContract  # noqa: E402
from fearless.testing.contracts.given import a_release, an_image, explained  # noqa: E402
from fearless.testing.contracts.provisioners import ProvisionerContract  # noqa: E402
from fearless.testing.contracts.registries import (  # noqa: E402
    RegistryContract,
    RemoteRegistryContract,
)
from fearless.testing.contracts.secrets import SecretStoreContract  # noqa: E402
from fearless.testing.contracts.stores import DataStoreContract  # noqa: E402

__all__ = [
    "AmiBakerContract",
    "BootTestContract",
    "CloudContract",
    "ContainerBuilderContract",
    "CopyEngineContract",
    "DataStoreContract",
    "DeployerContract",
    "DnsProviderContract",
    "ProvisionerContract",
    "RegistryContract",
    "RemoteRegistryContract",
    "SecretStoreContract",
    "a_release",
    "an_image",
    "explained",
]
