"""What the daemon decides, without anything running: plans, health, sources, sockets."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fearless.local import process, sockets, source
from fearless.local.container import app_environment
from fearless.local.credentials import PATH, Credentials
from fearless.local.daemon import inherited
from fearless.local.directory import Directory
from fearless.local.endpoint import Endpoint
from fearless.local.groups import Member, Plan, pause, plan
from fearless.local.health import Check, Health, matches


def old(id: str, healthy: bool = True) -> Member:
    return Member(id, "old", healthy)


def new(id: str, healthy: bool = True) -> Member:
    return Member(id, "new", healthy)


@pytest.mark.parametrize(
    ("desired", "image", "members", "expected"),
    [
        (2, None, [], Plan(launch=2)),
        (2, None, [old("a")], Plan(launch=1)),
        (2, None, [old("a"), new("b")], Plan()),
        (1, None, [old("a"), old("b")], Plan(retire=("a",))),
        (1, None, [old("a"), old("b", healthy=False)], Plan(retire=("b",))),
        (0, None, [old("a")], Plan(retire=("a",))),
        (2, "new", [old("a"), old("b")], Plan(launch=1)),
        (2, "new", [old("a"), old("b"), new("c", healthy=False)], Plan()),
        (2, "new", [old("a"), old("b"), new("c")], Plan(launch=1, retire=("a",))),
        (2, "new", [old("b"), new("c"), new("d", healthy=False)], Plan()),
        (2, "new", [old("b"), new("c"), new("d")], Plan(retire=("b",))),
        (2, "new", [old("a", healthy=False), old("b")], Plan(launch=2, retire=("a",))),
        (2, "new", [old("a", healthy=False)], Plan(launch=2, retire=("a",))),
        (1, "new", [old("a")], Plan(launch=1)),
        (1, "new", [old("a"), new("b")], Plan(retire=("a",))),
        (0, "new", [old("a")], Plan(retire=("a",))),
    ],
)
def test_plan(desired: int, image: str | None, members: list[Member], expected: Plan) -> None:
    assert plan(desired, image, members) == expected


def test_launches_pause_longer_with_each_failure_up_to_a_limit() -> None:
    assert [pause(n) for n in (0, 1, 2, 3, 20)] == [0, 0.5, 1.0, 2.0, 30.0]


def test_health_needs_answers_in_a_row() -> None:
    check, now = Check(rise=2, fall=2), 1.0
    health = Health()

    def states(*answers: str) -> list[str]:
        nonlocal health
        seen = []
        for answer in answers:
            health = health.after(answer, check, now)
            seen.append(health.state)
        return seen

    assert states("down", "down", "down") == ["initial"] * 3, "never called unhealthy before"
    assert states("", "down", "", "") == ["initial", "initial", "initial", "healthy"]
    assert states("down", "", "down", "down") == ["healthy", "healthy", "healthy", "unhealthy"]
    assert health.description == "down"
    assert states("", "") == ["unhealthy", "healthy"]
    assert health.description == ""


def test_matchers() -> None:
    assert matches(200, "200") and not matches(201, "200")
    assert matches(204, "200,204") and matches(250, "200-299, 301")
    assert not matches(300, "200-299,301")


# ------------------------------------------------------------------ what to run

USER_DATA = """#cloud-config
write_files:
  - path: /etc/fearless/release.env
    content: |
      # of the stack
      FEARLESS_STACK=s
      TABLE_A=a=b
  - {path: /etc/x, content: aGk=, encoding: b64}
"""


def test_user_data_gives_files_and_variables(tmp_path: Path) -> None:
    assert source.release_env(USER_DATA) == {"FEARLESS_STACK": "s", "TABLE_A": "a=b"}
    source.write_files(source.user_data_files(USER_DATA), tmp_path)
    assert (tmp_path / "etc" / "x").read_text() == "hi"
    assert source.user_data_files("#!/bin/bash\necho") == {}
    with pytest.raises(source.NotRunnable, match="not a cloud-config"):
        source.user_data_files("#cloud-config\nwrite_files: [{}]")
    with pytest.raises(source.NotRunnable, match="outside the instance"):
        source.write_files({"/../../evil": ""}, tmp_path)


def test_an_override_names_an_image_that_was_deployed(tmp_path: Path) -> None:
    names = {"stack": "shop-d-1", "repository": "quay.io/team/shop", "digest": "sha256:1"}
    value = {**names, "sha": "abc", "release": "dev-1"}
    found = source.override(tmp_path, json.dumps(value))
    assert found.layout == tmp_path / "deployed" / "shop-d-1"
    assert found.reference == "quay.io/team/shop@sha256:1"
    assert found.env == {"FEARLESS_SHA": "abc", "FEARLESS_RELEASE": "dev-1"}
    paths = (json.dumps({**value, "stack": stack}) for stack in ("../x", "", "a/b", ".."))
    for wrong in ("", "[]", "{}", *paths):
        with pytest.raises(source.NotRunnable, match="parameter is not valid"):
            source.override(tmp_path, wrong)


def test_a_damaged_machine_image_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "amis" / "ami-1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"images": []}')
    with pytest.raises(source.NotRunnable, match=r"manifest\.json is not a machine image"):
        source.machine_image(tmp_path, "ami-1")


def test_the_app_of_a_container_gets_its_own_variables_only() -> None:
    given = {"PATH": "/bin", "HOME": "/root", "DOCKER_HOST": "x", "PORT": "1", process.MARK: "d"}
    assert app_environment(given) == {"PORT": "1"}


# ------------------------------------------------------------------ credentials


def test_credentials_are_renewed_before_they_expire_and_end_with_the_instance() -> None:
    now, calls = datetime(2026, 1, 1, tzinfo=UTC), []

    def issue(role: str, session: str) -> dict[str, Any]:
        calls.append((role, session))
        return {"Expiration": (now + timedelta(hours=1)).isoformat(), "n": len(calls)}

    served = Credentials(issue, lambda: now)
    try:
        token = served.grant("i-1", "role")["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        assert served.answer(PATH, token)[1]["n"] == 1
        now += timedelta(minutes=44)
        assert served.answer(PATH, token)[1]["n"] == 1
        now += timedelta(minutes=2)
        assert served.answer(PATH, token)[1]["n"] == 2
        assert calls == [("role", "i-1")] * 2
        assert served.answer("/elsewhere", token)[0] == 404
        assert served.answer(PATH, "wrong")[0] == 401
        served.revoke("i-1")
        assert served.answer(PATH, token)[0] == 401
    finally:
        served.close()


# ------------------------------------------------------------------ sockets, ports, processes


def test_addresses_of_the_kernels_table() -> None:
    assert sockets.address("0100007F:1F90") == "127.0.0.1"
    assert sockets.address("00000000:0050") == "0.0.0.0"
    assert sockets.address("00000000000000000000000001000000:0050") == "::1"
    assert sockets.is_loopback("::ffff:127.0.0.1") and sockets.is_loopback("127.1.2.3")
    assert not sockets.is_loopback("0.0.0.0") and not sockets.is_loopback("::")


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="reads /proc")
def test_this_process_is_found_listening() -> None:
    with sockets.listen(sockets.free_port()) as listener, socket.socket() as connected:
        connected.connect(listener.getsockname())
        assert listener.getsockname() in sockets.listening([os.getpid()])
        assert sockets.exposed([os.getpid()], 1) == []


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="reads /proc")
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")])
def test_whoever_listens_to_the_network_on_a_port_is_seen(family: int, host: str) -> None:
    port = sockets.free_port()
    assert sockets.exposed([], port) == []
    with socket.socket(family) as listener:
        listener.bind((host, port))
        assert sockets.exposed([], port) == [], "bound, and nobody can connect"
        listener.listen()
        assert sockets.exposed([], port) == [f"{host}:{port}"], "as a container's, of no pid we see"
        assert sockets.exposed([], port + 1) == []


def test_ports_are_remembered(tmp_path: Path) -> None:
    directory = Directory(tmp_path / ".fearless")
    port = directory.stack_port("a")
    assert directory.stack_port("a") == port != directory.stack_port("b")
    with sockets.listen(sockets.free_port()) as taken:
        preferred = taken.getsockname()[1]
        public = directory.public_port(preferred)
        assert preferred < public < preferred + 20
    assert directory.public_port(preferred) == public
    assert (directory.root / ".gitignore").read_text() == "*\n"


def test_a_process_is_known_by_when_it_started() -> None:
    mine = process.identify(os.getpid())
    assert mine.alive()
    assert not process.Identity(mine.pid, "earlier").alive()
    assert not process.Identity(mine.pid, "").alive()
    assert process.clear([process.Identity(mine.pid, "earlier")], 1) == []


def test_the_emulator_obeys_nothing_of_the_users_environment() -> None:
    kept = {"PATH": "/bin", "HOME": "/h", "LANG": "C", "LC_ALL": "C", "PYTHONPATH": "/p", "TZ": ""}
    obeyed = ("SERVICES", "USE_SSL", "LOCALSTACK_HOSTNAME", "REDIS_HOST", "DEBUG", "LOG_LEVEL")
    others = ("AWS_PROFILE", "MINISTACK_REGION", "LAMBDA_EXECUTOR", "HTTP_PROXY", "EDGE_PORT")
    assert inherited({**kept, **dict.fromkeys(obeyed + others, "1")}) == kept


def test_the_users_profile_and_proxy_do_not_matter(
    emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    endpoint = Endpoint(emulator.url)
    assert endpoint.client("sts").get_caller_identity()["Account"] == "000000000000"
    assert endpoint.client("sts") is endpoint.client("sts")
    endpoint.close()
