"""HTTP with one registry: signs in when it is asked to, and says what goes wrong in one line."""

from __future__ import annotations

import io
import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
import urllib3.exceptions

from fearless.builtin.registries import authentication
from fearless.builtin.registries.authentication import Challenge, Token
from fearless.errors import FearlessError, NotAuthorised, Refused
from fearless.interfaces import Login
from fearless.oci_reference import is_loopback

CONNECTIONS = 8


class Unreachable(FearlessError):
    """The registry does not answer, broke off, or cannot do its work now."""


@dataclass(frozen=True)
class Address:
    """Where a registry is: `host` with its port, if any. `settings` names what may be wrong."""

    host: str
    plain_http: bool = False
    settings: str = "`[registry]`"

    @property
    def url(self) -> str:
        """Plain HTTP only on this machine, and where it was asked for."""
        plain = self.plain_http or is_loopback(self.host)
        return f"{'http' if plain else 'https'}://{self.host}"


class Session:
    """Safe to use from several threads. `login` is asked each time: it renews what expires.

    `timeout` is how many seconds the registry may be silent. Secrets are sent in headers only,
    and to no other host than the registry and the token server it names.
    """

    def __init__(
        self,
        address: Address,
        login: Callable[[], Login | None],
        timeout: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self._login = login
        self._clock = clock
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], Token] = {}
        with self.broken():
            self._http = _pool(address, timeout)

    def request(
        self,
        method: str,
        path: str,
        scopes: tuple[str, ...],
        *,
        fine: tuple[int, ...],
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        preload: bool = True,
    ) -> Any:
        """One answer whose status is one of `fine`; signs in when that is asked for."""
        url = urljoin(f"{self.address.url}/v2/", path)
        given = {"Accept-Encoding": "identity", **(headers or {})}
        for first in (True, False):
            who = self._who(url, scopes)
            with self.broken():
                answer = self._http.request(
                    method,
                    url,
                    body=body,
                    headers={**given, **who},
                    preload_content=preload,
                    decode_content=False,
                    redirect=method in ("GET", "HEAD"),
                )
            if answer.status != 401 or not first or not self._sign_in(answer, scopes, bool(who)):
                break
            if isinstance(body, io.IOBase):
                if not body.seekable():
                    break
                body.seek(0)
        if answer.status not in fine:
            with self.broken():
                refusal = self._refusal(answer, f"{method} {urlsplit(url).path}")
            raise refusal
        return answer

    def _who(self, url: str, scopes: tuple[str, ...]) -> dict[str, str]:
        if self._challenge is None or not url.startswith(f"{self.address.url}/"):
            return {}
        if self._challenge.scheme == "basic":
            login = self._login()
            return {"Authorization": authentication.basic(login)} if login else {}
        token = self._tokens.get(scopes)
        fresh = token is not None and token.until > self._clock()
        return {"Authorization": f"Bearer {token.value}"} if token and fresh else {}

    def _sign_in(self, answer: Any, scopes: tuple[str, ...], tried: bool) -> bool:
        """Do what a 401 asks for; False when there is nothing more to try."""
        self._challenge = authentication.challenge(answer.headers.getlist("WWW-Authenticate"))
        answer.drain_conn()
        if self._challenge is None:
            return False
        if self._challenge.scheme == "basic":
            return not tried and self._login() is not None
        self._tokens[scopes] = self._token(self._challenge, scopes)
        return True

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> Token:
        login = self._login()
        url = challenge.url(scopes, login)
        realm = urlsplit(url)
        plain = realm.scheme == "http" and (
            self.address.url.startswith("http:") or is_loopback(realm.netloc)
        )
        if realm.scheme != "https" and not plain:
            raise FearlessError(
                f"registry {self.address.host} names {url.partition('?')[0]!r} as its token "
                "server: no password is sent there, it is not https"
            )
        headers = {"Authorization": authentication.basic(login)} if login else {}
        with self.broken(realm.netloc):
            answer = self._http.request("GET", url, headers=headers, redirect=False)
        if answer.status != 200:
            raise self._refusal(answer, f"a token of {realm.netloc}")
        try:
            return authentication.token(answer.data, self._clock())
        except ValueError as error:
            raise FearlessError(f"token server {realm.netloc}: {error}") from error

    @contextmanager
    def broken(self, host: str = "") -> Iterator[None]:
        """Say in one line that the registry (or `host`, its token server) cannot be talked to."""
        try:
            yield
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            if isinstance(cause, urllib3.exceptions.SSLError):
                hint = (
                    "trust its certificate with SSL_CERT_FILE, or set `plain_http` if it has none"
                )
            else:
                hint = f"is it running, and is {self.address.settings} in release.toml right?"
            raise Unreachable(
                f"registry {host or self.address.host} does not answer: {_short(cause)}; {hint}"
            ) from error

    def _refusal(self, answer: Any, what: str) -> FearlessError:
        """What an unexpected status means for a person."""
        host = self.address.host
        code, said = _error(answer)
        if answer.status in (401, 403):
            login = self._login()
            who = f"{login.username!r}" if login else "anybody without a password"
            return NotAuthorised(
                f"registry {host} does not let {who} do this ({what}: {answer.status} {said}): "
                f"check {self.address.settings} in release.toml"
            )
        if code in ("TAG_INVALID", "TAG_IMMUTABLE") or "immutable" in said.lower():
            return Refused(f"registry {host}: {what}: {said}")
        text = f"registry {host} answers {answer.status} to {what}: {said}"
        return Unreachable(text) if answer.status >= 500 else FearlessError(text)

    def location(self, answer: Any) -> str:
        """Where a blob goes on; raises FearlessError when the answer does not say."""
        if "Location" not in answer.headers:
            raise FearlessError(f"registry {self.address.host} does not say where to send a blob")
        return str(answer.headers["Location"])

    def json(self, answer: Any) -> dict[str, Any]:
        """The document that was answered; raises FearlessError when it is none."""
        try:
            return dict(json.loads(answer.data))
        except (ValueError, TypeError) as error:
            raise FearlessError(
                f"{self.address.host} does not answer like a registry: {error}"
            ) from error


def _pool(address: Address, timeout: float) -> Any:
    """Connections of a proxy where the environment names one for this host."""
    options: dict[str, Any] = {
        "maxsize": CONNECTIONS,
        "block": True,
        "blocksize": 1 << 18,
        "timeout": urllib3.Timeout(connect=min(timeout, 10), read=timeout),
        "retries": urllib3.Retry(
            total=3,
            read=1,
            backoff_factor=0.2,
            status_forcelist=(429, 502, 503, 504),
            raise_on_status=False,
        ),
    }
    name = urlsplit(address.url).hostname or ""
    proxy = urllib.request.getproxies().get(urlsplit(address.url).scheme)
    if proxy and not is_loopback(address.host) and not urllib.request.proxy_bypass(name):
        who = unquote(urlsplit(proxy).netloc.rpartition("@")[0])
        headers = urllib3.make_headers(proxy_basic_auth=who) if who else None
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    return urllib3.PoolManager(**options)


def _error(answer: Any) -> tuple[str, str]:
    """The code and the text of a registry's answer, whatever it looks like."""
    try:
        first = json.loads(answer.data)["errors"][0]
        detail = first.get("detail")
        more = f" ({detail})" if isinstance(detail, str) and detail else ""
        return str(first.get("code", "")), f"{first.get('message') or first['code']}{more}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        text = answer.data[:200].decode(errors="replace") if answer.data else answer.reason or ""
        return "", " ".join(str(text).split())


def _short(error: object) -> str:
    """What went wrong, without urllib3's objects in front of it."""
    text = " ".join(str(error).split())
    return text.rpartition(">: ")[2] if text.startswith("<") else text
