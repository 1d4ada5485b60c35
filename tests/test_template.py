"""The project's template renders as agreed, and mistakes in one are explained."""

from __future__ import annotations

import base64
import difflib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fearless.errors import ConfigError
from fearless.interfaces import Kind, TableSpec
from fearless.template import SIZE_LIMIT, parse, render
from tests.stacks import SHA, TABLES, release, template

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, text: str) -> None:
    """Compare with the golden file; FEARLESS_UPDATE_GOLDEN=1 writes it instead."""
    file = GOLDEN / name
    if os.environ.get("FEARLESS_UPDATE_GOLDEN"):
        file.write_text(text)
    difference = difflib.unified_diff(
        file.read_text().splitlines(), text.splitlines(), name, "rendered", lineterm="", n=2
    )
    assert not (lines := list(difference)), "\n".join(
        [*lines, "if this is meant: FEARLESS_UPDATE_GOLDEN=1 pytest tests/test_template.py"]
    )


def resources(kind: Kind = "release") -> dict[str, Any]:
    return parse(template(release(kind)).text, "stack.yaml.j2")["Resources"]


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.j2").write_text(text)
    return folder


def test_a_release_renders_to_the_golden_template() -> None:
    golden("stack-release.yaml", template(release()).text)


def test_a_dev_stack_differs_in_nothing_but_what_is_declared() -> None:
    difference = difflib.unified_diff(
        template(release()).text.splitlines(),
        template(release("dev")).text.splitlines(),
        "release",
        "dev",
        lineterm="",
        n=0,
    )
    golden("stack-dev.diff", "\n".join(difference) + "\n")


def test_equal_variables_give_equal_text_and_digest() -> None:
    first, second = template(release()), template(release())
    assert first == second
    assert len(first.digest) == 64
    assert template(release("dev")).digest != first.digest


@pytest.mark.parametrize("kind", ["release", "dev"])
@pytest.mark.parametrize("tables", [TABLES, []], ids=["tables", "no tables"])
def test_cfn_lint_finds_nothing(kind: Kind, tables: list[TableSpec]) -> None:
    from cfnlint.api import ManualArgs, lint

    found = lint(template(release(kind), tables).text, config=ManualArgs(regions=["us-east-1"]))
    assert not [f"{match.linenumber}: {match.rule.id} {match.message}" for match in found]


def test_every_output_core_reads_is_there() -> None:
    outputs = parse(template(release()).text, "stack.yaml.j2")["Outputs"]
    promised = ["LoadBalancerDNS", "LoadBalancerZone", "ListenerPort", "TargetGroup"]
    promised += ["AutoScalingGroup", "AppRole", "StateTable", "TableProducts", "TableOrderLines"]
    assert set(promised) <= set(outputs)


@pytest.mark.parametrize("kind", ["release", "dev"])
def test_tables_can_be_copied_followed_and_restored(kind: Kind) -> None:
    for name in ("TableProducts", "TableOrderLines"):
        table = resources(kind)[name]
        properties = table["Properties"]
        assert properties["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
        assert properties["BillingMode"] == "PAY_PER_REQUEST"
        assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
        assert properties["SSESpecification"]["SSEEnabled"]
        assert properties["DeletionProtectionEnabled"] is (kind == "release")
        assert "TableName" not in properties
        assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Delete", "Retain")


def test_machines_are_reached_through_the_load_balancer_only() -> None:
    made = resources()
    data = made["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert "KeyName" not in data
    (ingress,) = made["AppSecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert ingress["SourceSecurityGroupId"] == {
        "Fn::GetAtt": ["LoadBalancerSecurityGroup", "GroupId"]
    }
    assert "CidrIp" not in ingress
    group = made["AutoScalingGroup"]["Properties"]
    assert group["HealthCheckType"] == "ELB"
    assert group["HealthCheckGracePeriod"] > 0


def test_an_instance_learns_which_release_it_is() -> None:
    data = resources()["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
    text = data["UserData"]["Fn::Base64"]["Fn::Sub"]
    assert text.startswith("#cloud-config\n")
    assert base64.b64encode(text.encode())
    (file,) = parse(text, "user data")["write_files"]
    assert file["path"] == "/etc/fearless/release.env"
    lines = dict(line.split("=", 1) for line in file["content"].splitlines())
    assert lines["FEARLESS_SHA"] == SHA
    assert lines["FEARLESS_STACK"] == "${AWS::StackName}"
    assert lines["PORT"] == "8080"
    assert lines["TABLE_ORDER_LINES"] == "${TableOrderLines}"


def test_an_undefined_variable_is_named_with_template_and_line(tmp_path: Path) -> None:
    write(tmp_path, stack='{% include "part.j2" %}\n', part="Resources:\n  Port: {{ ap.port }}\n")
    with pytest.raises(ConfigError) as caught:
        render(tmp_path, "stack.j2", {"app": 1, "kind": "dev"})
    text = str(caught.value)
    assert text == (
        f"error: {tmp_path}/part.j2:2: 'ap' is undefined (did you mean 'app'?) (have: app, kind)"
    )


def test_an_undefined_attribute_is_named_too(tmp_path: Path) -> None:
    write(tmp_path, stack="A: 1\n\n{% for x in [1] %}\nB: {{ app.prot }}\n{% endfor %}\n")
    with pytest.raises(ConfigError, match=r"stack\.j2:4: .*has no attribute 'prot'"):
        render(tmp_path, "stack.j2", {"app": release()})


def test_a_syntax_error_is_named_with_template_and_line(tmp_path: Path) -> None:
    write(tmp_path, stack='A: 1\n{% include "part.j2" %}\n', part="\n\n{% if %}\n")
    with pytest.raises(ConfigError, match=r"part\.j2:3: Expected an expression"):
        render(tmp_path, "stack.j2", {})


def test_a_missing_template_lists_what_there_is(tmp_path: Path) -> None:
    write(tmp_path, stack='A: 1\n{% include "netwrok.j2" %}\n', network="")
    with pytest.raises(ConfigError) as caught:
        render(tmp_path, "stack.j2", {})
    text = str(caught.value)
    assert f"{tmp_path}/stack.j2:2: no template 'netwrok.j2'" in text
    assert "did you mean 'network.j2'?" in text
    with pytest.raises(ConfigError, match=r"no template 'stakc\.j2'"):
        render(tmp_path, "stakc.j2", {})


def test_an_error_inside_an_expression_is_one_line_too(tmp_path: Path) -> None:
    write(tmp_path, stack="A: 1\nB: {{ 1 / zero }}\n")
    with pytest.raises(ConfigError, match=r"stack\.j2:2: ZeroDivisionError"):
        render(tmp_path, "stack.j2", {"zero": 0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Resources:\n  A:\n", r"no value for Resources\.A:"),
        ("Resources:\n  A: [1, {B: ~}]\n", r"no value for Resources\.A\[1\]\.B:"),
        ("Resources:\n  A: !Sub [x, {B: }]\n", r"no value for Resources\.A\.Fn::Sub\[1\]\.B:"),
        ("Resources:\n  A: 1\n  A: 2\n", r"'A' is given twice, rendered line 3: 'A: 2'"),
        ("Resources:\n  A: [1\n", "does not render to valid YAML"),
        ("just text\n", "renders to no mapping"),
        ("A: " + "x" * SIZE_LIMIT + "\n", r"renders to 51,204 bytes; CloudFormation takes 51,200"),
    ],
)
def test_what_cloudformation_would_refuse_is_refused_first(
    tmp_path: Path, text: str, message: str
) -> None:
    write(tmp_path, stack=text)
    with pytest.raises(ConfigError, match=message):
        render(tmp_path, "stack.j2", {})


def test_short_tags_mean_their_long_forms() -> None:
    text = 'A: !Ref x\nB: !GetAtt x.y.z\nC: !If [c, !Sub "${x}", !Ref "AWS::NoValue"]\n'
    text += "D: !Condition c\nE: !Sub 8080\n"
    assert parse(text, "t") == {
        "A": {"Ref": "x"},
        "B": {"Fn::GetAtt": ["x", "y.z"]},
        "C": {"Fn::If": ["c", {"Fn::Sub": "${x}"}, {"Ref": "AWS::NoValue"}]},
        "D": {"Condition": "c"},
        "E": {"Fn::Sub": "8080"},
    }


def test_importing_the_module_imports_neither_jinja2_nor_yaml() -> None:
    code = "import sys, fearless.template; sys.exit(bool({'jinja2', 'yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
