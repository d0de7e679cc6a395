"""The certificates of the stand-in for BCM: a root, the cluster's own CA under it, the server's and the clients'.

A client's profile is the title in its subject. openssl does the work, because Python's standard library cannot sign.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from labcmd.state import Paths

PROFILES = ("admin", "readonly", "none")
# As on most real clusters, these are not the names that clients call.
SERVER_NAMES = ("bcm11-headnode", "bcm11-headnode.cm.cluster")
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
IDENTIFIERS = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path

    def exists(self) -> bool:
        """Tell whether both are there."""
        return self.certificate.exists() and self.key.exists()


class Authority:
    """The cluster's certificates."""

    def __init__(self, paths: Paths) -> None:
        place = paths.certificates
        self.root = Pair(place / "cacert.pem", place / "cacert.key")
        self.cluster = Pair(place / "cluster.pem", place / "cluster.key")
        self.server = Pair(place / "cert.pem", place / "cert.key")
        self.admin = Pair(paths.admin / "admin.pem", paths.admin / "admin.key")

    def ensure(self) -> None:
        """Make what is missing."""
        self.root.certificate.parent.mkdir(parents=True, exist_ok=True)
        self.admin.certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.root.exists():
            issue(self.root, "/O=Lab Cluster/CN=Lab Root", AUTHORITY, 3650, None)
        if not self.cluster.exists():
            issue(self.cluster, "/O=Lab Cluster/CN=Lab Cluster CA", AUTHORITY, 3650, self.root)
        if not self.server.exists():
            self.name_server(SERVER_NAMES)
        if not self.admin.exists():
            self.client(self.admin, "/O=Lab Cluster/CN=Administrator", "admin", "root", 3650)

    def name_server(self, names: tuple[str, ...]) -> None:
        """Give the server a new certificate for these names."""
        listed = ",".join(f"DNS:{name}" for name in names)
        usage = f"{LEAF}extendedKeyUsage=serverAuth\nsubjectAltName={listed}\n"
        issue(self.server, f"/O=Lab Cluster/CN={names[0]}", usage, 3650, self.cluster)

    def client(self, pair: Pair, subject: str, profile: str, login: str, days: int, bits: int = 2048) -> None:
        """Make a client certificate that carries a profile and a login."""
        full = f"{subject}/title={profile}" + (f"/UID={login}" if login else "")
        issue(pair, full, f"{LEAF}extendedKeyUsage=clientAuth\n", days, self.cluster, bits)


def openssl(*words: str) -> None:
    """Run openssl."""
    subprocess.run(["openssl", *words], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def issue(pair: Pair, subject: str, extensions: str, days: int, issuer: Pair | None, bits: int = 2048) -> None:
    """Make a key and a certificate, signed by the issuer or by itself; the key only its owner can read."""
    with tempfile.TemporaryDirectory() as scratch:
        key, request, made = (str(Path(scratch) / name) for name in ("key", "request", "certificate"))
        config = Path(scratch) / "extensions"
        config.write_text(f"[v3]\n{IDENTIFIERS}{extensions}", encoding="utf-8")
        openssl("req", "-new", "-newkey", f"rsa:{bits}", "-nodes", "-keyout", key, "-out", request, "-subj", subject)
        signer = ["-CA", str(issuer.certificate), "-CAkey", str(issuer.key)] if issuer else ["-signkey", key]
        serial = ["-set_serial", str(int.from_bytes(os.urandom(12), "big"))]
        openssl(
            "x509", "-req", "-in", request, "-out", made, "-days", str(days), "-sha256", *serial, *signer,
            "-extfile", str(config), "-extensions", "v3",
        )  # fmt: skip
        place(Path(key), pair.key, 0o600)
        place(Path(made), pair.certificate, 0o644)


def place(source: Path, target: Path, mode: int) -> None:
    """Put a file where it belongs, in one step and never readable for more than its mode says."""
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(source.read_bytes())
    os.replace(fresh, target)


def issue_client(authority: Authority, given: dict[str, str], pair: Pair) -> None:
    """Make the certificate that cmsh's createcertificate asks for; a word of nothing is left out of the subject."""
    names = (
        ("C", "country"),
        ("ST", "state"),
        ("L", "locality"),
        ("O", "organization"),
        ("OU", "organizational-unit"),
        ("CN", "common-name"),
    )
    subject = "".join(f"/{label}={escaped(given[word])}" for label, word in names if given[word])
    authority.client(pair, subject, given["profile"], given["sys-login"], int(given["days"]), int(given["key-length"]))


def escaped(text: str) -> str:
    """Return a text as openssl takes it within a subject."""
    return text.replace("\\", "\\\\").replace("/", "\\/")
