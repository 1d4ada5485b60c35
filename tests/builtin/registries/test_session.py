"""Signing in: challenges taken apart, tokens of a real token flow, passwords sent nowhere else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fearless import oci
from fearless.builtin.registries import authentication
from fearless.builtin.registries.authentication import Challenge, challenge, token
from fearless.builtin.registries.distribution import Client
from fearless.builtin.registries.oci import OciRegistry
from fearless.builtin.registries.session import Address, Session
from fearless.errors import FearlessError, NotAuthorised
from fearless.interfaces import Login
from fearless.testing import contracts
from fearless.testing.contracts.given import a_release, an_image
from tests.builtin.registries.given import Project
from tests.builtin.registries.token_server import TokenServer, serving
from tests.docker_registry import PASSWORD, USERNAME, DockerRegistry, running

pytest_plugins = ["tests.docker_registry"]

LOGIN = Login("registry.test", "ci", "hush hush")


def test_a_challenge_is_taken_apart() -> None:
    header = (
        'Bearer realm="https://auth.test/token?x=1",service="registry.test",'
        'scope="repository:a/b:pull,push repository:c:pull"'
    )
    found = challenge(["Negotiate", header])
    assert found == Challenge(
        "bearer",
        {
            "realm": "https://auth.test/token?x=1",
            "service": "registry.test",
            "scope": "repository:a/b:pull,push repository:c:pull",
        },
    )
    assert found.url(("repository:c:pull", "repository:d:pull"), LOGIN) == (
        "https://auth.test/token?x=1&service=registry.test&account=ci"
        "&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull"
        "&scope=repository%3Ad%3Apull"
    )
    assert challenge(["basic realm=test"]) == Challenge("basic", {"realm": "test"})
    assert challenge(["Negotiate"]) is None
    assert challenge([]) is None


def test_a_token_is_used_for_most_of_its_life() -> None:
    assert token(b'{"token": "a", "expires_in": 400}', 1000.0) == authentication.Token("a", 1300.0)
    assert token(b'{"access_token": "a"}', 0.0) == authentication.Token("a", 45.0)
    for wrong in (b"{}", b"[]", b"<html>", b'{"expires_in": 3}'):
        with pytest.raises(ValueError, match=r"."):
            token(wrong, 0.0)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with serving(tmp_path_factory.mktemp("tokens"), USERNAME, PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def token_registry(
    tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerRegistry]:
    login = (USERNAME, PASSWORD)
    with running(tmp_path_factory.mktemp("registry"), login, tokens.auth) as registry:
        yield registry


def provider_of(registry: DockerRegistry, app: str, password: str = PASSWORD) -> OciRegistry:
    project = Project(app, TOKEN=password)
    return OciRegistry(project, f"{registry.host}/team", USERNAME, "TOKEN")  # type: ignore[arg-type]


class TestOciWithTokens(contracts.RemoteRegistryContract):
    @pytest.fixture
    def provider(self, token_registry: DockerRegistry, app: str) -> OciRegistry:
        return provider_of(token_registry, app)


def test_a_token_is_asked_for_once_for_each_right(
    token_registry: DockerRegistry, tokens: TokenServer, tmp_path: Path
) -> None:
    provider, release = provider_of(token_registry, "rights"), a_release("rights")
    tokens.scopes.clear()
    provider.push(an_image(tmp_path / "one", release))
    provider.find(release)
    pull, push = (["repository:team/rights:pull"], ["repository:team/rights:pull,push"])
    assert sorted(tokens.scopes) == [pull, push]


def test_a_token_that_expired_is_renewed(
    token_registry: DockerRegistry, tokens: TokenServer
) -> None:
    now = [0.0]
    address = Address(token_registry.host)
    session = Session(address, lambda: Login("", USERNAME, PASSWORD), clock=lambda: now[0])
    client = Client(session)
    tokens.scopes.clear()
    for moment in (0.0, 224.0, 226.0):
        now[0] = moment
        assert client.tags("team/none") == []
    assert len(tokens.scopes) == 2


def test_a_token_server_that_does_not_know_us(token_registry: DockerRegistry) -> None:
    with pytest.raises(NotAuthorised) as caught:
        provider_of(token_registry, "shop", "wrong").find(a_release("shop"))
    assert "incorrect username or password" in str(caught.value)
    assert token_registry.host in str(caught.value)


class _Scripted(BaseHTTPRequestHandler):
    """Answers what the test says: `(status, headers, body)` for each request, in order."""

    answers: list[tuple[int, dict[str, str], bytes]]
    seen: list[tuple[str, str, str | None]]

    def _answer(self) -> None:
        self.seen.append((self.command, self.path, self.headers.get("Authorization")))
        status, headers, body = self.answers.pop(0)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[ThreadingHTTPServer]:
    class Handler(_Scripted):
        answers: list[tuple[int, dict[str, str], bytes]] = []  # noqa: RUF012
        seen: list[tuple[str, str, str | None]] = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def client_of(server: ThreadingHTTPServer) -> Client:
    return Client(Session(Address(f"127.0.0.1:{server.server_port}"), lambda: LOGIN, 5))


def test_the_password_goes_to_no_token_server_without_https(scripted: ThreadingHTTPServer) -> None:
    handler = scripted.RequestHandlerClass
    bearer = {"WWW-Authenticate": 'Bearer realm="ftp://evil.test/token"'}
    handler.answers += [(401, bearer, b"")]  # type: ignore[attr-defined]
    with pytest.raises(FearlessError, match="no password is sent there"):
        client_of(scripted).tags("shop")


def test_the_password_does_not_follow_a_redirect(scripted: ThreadingHTTPServer) -> None:
    """ECR and others answer for a blob with where it is stored, at another host."""
    handler = scripted.RequestHandlerClass
    data = b"blob"
    elsewhere = {"Location": f"http://localhost:{scripted.server_port}/stored?signed=1"}
    handler.answers += [  # type: ignore[attr-defined]
        (401, {"WWW-Authenticate": "Basic realm=x"}, b""),
        (307, elsewhere, b""),
        (200, {}, data),
    ]
    with client_of(scripted).blob("shop", oci.digest_of(data)) as stream:
        assert stream is not None and stream.read() == data
    seen = handler.seen  # type: ignore[attr-defined]
    assert [path for _, path, _ in seen][2] == "/stored?signed=1"
    assert [who is not None for _, _, who in seen] == [False, True, False]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b'{"errors":[{"code":"UNKNOWN","message":"disk full"}]}', "500 .*disk full"),
        (
            400,
            b'{"errors":[{"code":"NAME_INVALID","detail":"too long"}]}',
            "NAME_INVALID .too long",
        ),
        (404, b"<html>\nno\n</html>", "<html> no </html>"),
        (429, b"", "429"),
    ],
)
def test_whatever_a_registry_answers_is_one_line(
    scripted: ThreadingHTTPServer, status: int, body: bytes, said: str
) -> None:
    handler = scripted.RequestHandlerClass
    handler.answers += [(status, {}, body)] * 5  # type: ignore[attr-defined]
    from fearless.builtin.registries.manifests import Document

    with pytest.raises(FearlessError, match=said) as caught:
        client_of(scripted).put_manifest("shop", "x", Document(b"{}", oci.MANIFEST))
    assert "\n" not in str(caught.value)


def test_an_immutable_tag_is_a_refusal(scripted: ThreadingHTTPServer) -> None:
    """As ECR says it."""
    from fearless.builtin.registries.manifests import Document
    from fearless.errors import Refused

    text = "The image tag 'x' already exists in the 'shop' repository and cannot be overwritten"
    error = {"errors": [{"code": "TAG_INVALID", "message": text}]}
    handler = scripted.RequestHandlerClass
    handler.answers += [(400, {}, json.dumps(error).encode())]  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="already exists"):
        client_of(scripted).put_manifest("shop", "x", Document(b"{}", oci.MANIFEST))


def test_a_manifest_of_another_digest_is_not_taken(scripted: ThreadingHTTPServer) -> None:
    handler = scripted.RequestHandlerClass
    handler.answers += [(200, {"Content-Type": oci.MANIFEST}, b"{}")]  # type: ignore[attr-defined]
    with pytest.raises(FearlessError, match="answers sha256:"):
        client_of(scripted).manifest("shop", "sha256:" + "0" * 64)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[1]", b"3", b""])
def test_what_is_no_registry_is_said(scripted: ThreadingHTTPServer, body: bytes) -> None:
    handler = scripted.RequestHandlerClass
    handler.answers += [(200, {}, body)]  # type: ignore[attr-defined]
    with pytest.raises(FearlessError, match="does not answer like a registry"):
        client_of(scripted).tags("shop")


def test_a_proxy_is_used_where_the_environment_names_one(
    scripted: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripted server is the proxy of a registry that is nowhere."""
    handler = scripted.RequestHandlerClass
    handler.answers += [(200, {}, b'{"tags": ["x"]}')]  # type: ignore[attr-defined]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{scripted.server_port}")
    monkeypatch.setenv("no_proxy", "other.invalid")
    client = Client(Session(Address("registry.invalid", plain_http=True), lambda: None, 5))
    assert client.tags("shop") == ["x"]
    assert handler.seen[0][1].startswith("http://registry.invalid/v2/shop/tags/list")  # type: ignore[attr-defined]


def test_a_proxy_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "ftp://proxy.invalid")
    with pytest.raises(FearlessError, match="Proxy URL") as caught:
        Session(Address("registry.invalid"), lambda: None, 5)
    assert "\n" not in str(caught.value)
