"""A token server as registries of the world have one: it signs what a registry lets one do."""

from __future__ import annotations

import base64
import datetime
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

SERVICE, ISSUER = "registry.test", "token.test"


class TokenServer(ThreadingHTTPServer):
    """Gives whoever knows the password a token for whatever is asked, which lasts `seconds`."""

    def __init__(self, directory: Path, username: str, password: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.authorization = "Basic " + _b64(f"{username}:{password}".encode(), False)
        self.seconds = 300
        self.scopes: list[list[str]] = []
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(name, name, self.key.public_key(), 1)
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
        self.certificate = builder.sign(self.key, hashes.SHA256())
        self.bundle = directory / "token.pem"
        self.bundle.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def auth(self) -> dict[str, Any]:
        """The section `auth` of the registry's configuration."""
        realm = f"http://127.0.0.1:{self.server_port}/token"
        bundle = str(self.bundle)
        token = {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}
        return {"token": token}

    def token(self, scopes: list[str]) -> str:
        """A JSON Web Token that grants those scopes."""
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        claims = {"iss": ISSUER, "sub": "ci", "aud": SERVICE, "jti": uuid.uuid4().hex}
        claims |= {"iat": now, "nbf": now - 5, "exp": now + self.seconds, "access": access}
        signed = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _Handler(BaseHTTPRequestHandler):
    server: TokenServer

    def do_GET(self) -> None:
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        self.server.scopes.append(scopes)
        if self.headers.get("Authorization") != self.server.authorization:
            status, answer = 401, {"details": "incorrect username or password"}
        else:
            status = 200
            answer = {"token": self.server.token(scopes), "expires_in": self.server.seconds}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(directory: Path, username: str, password: str) -> Iterator[TokenServer]:
    """One that answers on loopback."""
    server = TokenServer(directory, username, password)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _b64(data: bytes, url: bool = True) -> str:
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    text = encode(data).decode()
    return text.rstrip("=") if url else text
