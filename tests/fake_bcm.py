"""A small CMDaemon of the tests: HTTPS, its own authority, client certificates, and whatever answer a test wants."""

from __future__ import annotations

import datetime
import json
import ssl
import threading
from collections.abc import Callable, Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# Status, headers, body.
Answer = tuple[int, dict[str, str], bytes]
_SIGNS = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


class Authority:
    """Makes certificates in a directory, all signed by itself."""

    def __init__(
        self, directory: Path, name: str, lacks: Collection[str] = (), days: tuple[float, float] = (-1, 1)
    ) -> None:
        """
        Make the authority.

        :param lacks: ``key_identifier`` or ``critical``, of which older certificates know nothing.
        :param days: from when until when certificates are valid, counted from now.
        """
        self.directory, self._lacks, self._days = directory, lacks, days
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(self._sign(self._name, self._key, [], authority=True))

    def issue(self, name: str, host_names: tuple[str, ...] = ()) -> tuple[str, str]:
        """Return the paths of a new certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate_file, key_file = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        certificate_file.write_bytes(self._sign(subject, key, list(host_names)))
        kind = serialization.PrivateFormat.TraditionalOpenSSL
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
        return str(certificate_file), str(key_file)

    def _sign(self, subject: x509.Name, key: Any, names: list[str], authority: bool = False) -> bytes:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=self._days[0]))
            .not_valid_after(now + datetime.timedelta(days=self._days[1]))
            .add_extension(x509.BasicConstraints(authority, None), critical="critical" not in self._lacks)
        )
        if authority and "critical" not in self._lacks:
            builder = builder.add_extension(_SIGNS, critical=True)
        if "key_identifier" not in self._lacks:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if names:
            alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternative, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class FakeBcm:
    """Answers every GET with what ``answer`` returns. It runs from the beginning of a ``with`` block to its end."""

    def __init__(self, authority: Authority, names: tuple[str, ...] = ("bcm-head",)) -> None:
        self.answer: Callable[[BaseHTTPRequestHandler], Answer] = lambda request: devices({})
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("bcm-server", names))
        context.load_verify_locations(authority.file)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]

    def __enter__(self) -> FakeBcm:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.requests.append(self.path)
                status, headers, body = fake.answer(self)
                try:
                    self.send_response(status)
                    for name, value in {**headers, "Content-Length": str(len(body))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


def devices(roles: dict[str, list[str]], category: str = "dgx") -> Answer:
    """Return a good answer: a head, and a node for each name, as BCM writes them."""
    head = {"hostname": "bcm-01", "roles": ["headnode"], "type": "HeadNode", "cluster": "test"}
    nodes = [
        {"hostname": name, "roles": names, "type": "PhysicalNode", "category": category}
        for name, names in roles.items()
    ]
    return ok([head, *nodes])


def ok(payload: Any) -> Answer:
    """Return a 200 with JSON."""
    return 200, {"Content-Type": "application/json"}, json.dumps(payload).encode()
