"""A suite nothing fails proves nothing: wrong providers are caught, by the test meant for it."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from fearless.testing import contracts, fakes

{provider}

class TestIt(contracts.{contract}):
    stand_in = True

    @pytest.fixture
    def provider(self):
        return Wrong()
"""
REMOTE = """
from dataclasses import replace

class Remote(fakes.FakeRegistry):
    def name(self, app, tag):
        return f"registry.test/{app}:{tag}"

    def login(self):
        return None

    def alias(self, image, tag):
        self.images[tag] = replace(image, tag=tag)
"""
WRONG = {
    "a tag that moves": (
        "RegistryContract",
        """
class Wrong(fakes.FakeRegistry):
    def push(self, image):
        self.images[image.tag] = image
        return image
""",
        "test_a_tag_never_moves",
    ),
    "absence is an error": (
        "RegistryContract",
        """
class Wrong(fakes.FakeRegistry):
    def find(self, release):
        return self.images[release.sha]
""",
        "test_what_was_never_pushed_is_absent",
    ),
    "a second delete fails": (
        "RegistryContract",
        """
class Wrong(fakes.FakeRegistry):
    def delete(self, image):
        del self.images[image.tag]
""",
        "test_deleting_tolerates_what_is_gone",
    ),
    "another digest is read back": (
        "RegistryContract",
        """
from dataclasses import replace

class Wrong(fakes.FakeRegistry):
    def find(self, release):
        found = super().find(release)
        return found and replace(found, digest="sha256:" + "0" * 64)
""",
        "test_what_is_pushed_is_found_by_sha",
    ),
    "an alias takes a release's tag": (
        "RemoteRegistryContract",
        f"{REMOTE}\nclass Wrong(Remote): pass\n",
        "test_the_tag_of_a_release_is_no_alias",
    ),
    "a tag is deleted with all others": (
        "RemoteRegistryContract",
        f"""{REMOTE}
class Wrong(Remote):
    def delete(self, image):
        self.images = {{t: i for t, i in self.images.items() if i.digest != image.digest}}
""",
        "test_deleting_one_of_two_tags_leaves_the_other",
    ),
    "an engine would ask Docker Hub": (
        "RemoteRegistryContract",
        f"""{REMOTE}
class Wrong(Remote):
    def name(self, app, tag):
        return f"{{app}}:{{tag}}"
""",
        "test_an_engine_knows_it_by_a_full_name",
    ),
    "an inventory of something else": (
        "RegistryContract",
        """
from dataclasses import replace
from fearless.interfaces import StoredImage

class Wrong(fakes.FakeRegistry):
    def stored(self):
        return [StoredImage(replace(image, digest="")) for image in self.list()]

    def deviations(self):
        return ()
""",
        "test_an_inventory_is_the_list_with_sizes",
    ),
    "DNS is moved from anywhere": (
        "DnsProviderContract",
        """
class Wrong(fakes.FakeDns):
    def point(self, target, expected):
        self.target = target.outputs["LoadBalancerDNS"].lower()
""",
        "test_it_moves_only_from_where_it_is_expected",
    ),
    "stacks are deleted by name": (
        "ProvisionerContract",
        """
class Wrong(fakes.FakeProvisioner):
    def delete(self, stack, report):
        self.stacks.pop(stack.name, None)
""",
        "test_exactly_the_stack_of_that_id_is_deleted",
    ),
    "a method is missing": (
        "RegistryContract",
        """
class Wrong:
    def find(self, release):
        return None
""",
        "test_it_is_a_registry",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_provider_fails(name: str, pytester: pytest.Pytester) -> None:
    contract, provider, caught_by = WRONG[name]
    pytester.makepyfile(SUITE.format(contract=contract, provider=provider))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", caught_by)
    result.assert_outcomes(failed=1, deselected=result.parseoutcomes()["deselected"])


def test_a_suite_without_a_provider_says_what_to_override(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "from fearless.testing.contracts import RegistryContract\n\n"
        "class TestIt(RegistryContract):\n    pass\n"
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*NotImplementedError: override the fixture `provider`*"])
    assert "passed" not in result.parseoutcomes()


def test_the_example_of_the_docstring_is_complete(pytester: pytest.Pytester) -> None:
    """As it is written there, with a registry that stands in for Quay."""
    from fearless.testing import contracts

    text = str(contracts.__doc__)
    lines = text.split("    import pytest\n", 1)[1].split("\nEvery test", 1)[0]
    example = "import pytest\n" + "\n".join(line[4:] for line in lines.splitlines())
    pytester.makepyfile(
        fearless_quay="from fearless.testing.fakes import FakeRegistry\n\n"
        "class Quay(FakeRegistry):\n"
        "    def __init__(self, organisation, project):\n        super().__init__()\n",
        test_quay=example,
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "pushing_twice")
    result.assert_outcomes(passed=1, deselected=result.parseoutcomes()["deselected"])


def test_the_rest_of_the_kit_needs_no_pytest(pytester: pytest.Pytester) -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "import fearless.testing, fearless.testing.fakes, fearless.testing.emulator\n"
    )
    assert pytester.runpython_c(code).ret == 0
