"""Where the server is and how one gets in: options, then the environment, then a configuration file."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from superpod.errors import SuperpodError
from superpod.reports.prometheus import Server

SYSTEM = Path("/etc/superpod/reports.yaml")
# What may stand in the file: its variable of the environment, and the option that says the same.
KEYS = {
    "address": ("SUPERPOD_PROMETHEUS", "--prometheus"),
    "token_file": ("SUPERPOD_PROMETHEUS_TOKEN_FILE", "--token-file"),
    "user": ("SUPERPOD_PROMETHEUS_USER", "--auth-user"),
    "password_file": ("SUPERPOD_PROMETHEUS_PASSWORD_FILE", "--password-file"),
    "ca_file": ("SUPERPOD_PROMETHEUS_CA_FILE", "--ca"),
    "timeout": ("SUPERPOD_PROMETHEUS_TIMEOUT", "--timeout"),
    "cluster": ("SUPERPOD_CLUSTER", "--cluster"),
}
_FILES = ("token_file", "password_file", "ca_file")
_OTHER_WAY = {"token_file": ("user", "password_file"), "user": ("token_file",), "password_file": ("token_file",)}
_LONGEST = 600


def load(options: Mapping[str, str], file: str = "") -> tuple[Server, str]:
    """
    Return the server and the cluster that is meant; ``""``: any.

    :param options: what was said on the command line, by the keys of ``KEYS``.
    :param file: the configuration file; by default that of the user, else that of the system.
    :raises SuperpodError: something is missing, or is nothing that can be.
    """
    environment = {key: os.environ[name] for key, (name, _) in KEYS.items() if os.environ.get(name)}
    given = {key: value for key, value in options.items() if value}
    found: dict[str, str] = {}
    for layer in (_read(file), environment, given):
        # Who gives a token wants no password from further down, and the other way round.
        dropped = {other for key in layer for other in _OTHER_WAY.get(key, ())}
        found = {key: value for key, value in found.items() if key not in dropped} | layer
    cluster = found.pop("cluster", "")
    return _server(found), cluster


def _server(found: dict[str, str]) -> Server:
    address = _address(found.pop("address", ""))
    seconds = _seconds(found.pop("timeout", "30"))
    if found.get("token_file") and found.get("user"):
        raise SuperpodError("There are both a token and a user with a password: give one of them.", 2)
    if bool(found.get("user")) != bool(found.get("password_file")):
        raise SuperpodError("A user (--auth-user) and a password file (--password-file) need each other.", 2)
    return Server(address, timeout=seconds, **found)


def _address(text: str) -> str:
    if not text:
        ways = f"--prometheus http://HOST:9090, {KEYS['address'][0]}, or `address` in {_own()} or {SYSTEM}"
        raise SuperpodError(f"Where is Prometheus? Say it by {ways}.", 2)
    parts = urllib.parse.urlsplit(text)
    try:
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        good = None
    if not good or parts.query or parts.fragment:
        raise SuperpodError(f"The address {text!r} should be http://HOST:PORT or https://HOST:PORT/PATH.", 2)
    if parts.username is not None:
        raise SuperpodError("An address with a password is seen by all: use --auth-user and --password-file.", 2)
    return text.rstrip("/").removesuffix("/api/v1")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= _LONGEST:
        raise SuperpodError(f"The timeout {text!r} should be a number of seconds, up to {_LONGEST}.", 2)
    return seconds


def _own() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "superpod/reports.yaml"


def _read(file: str) -> dict[str, str]:
    named = file or os.environ.get("SUPERPOD_CONFIG", "")
    path = Path(named).expanduser() if named else next((one for one in (_own(), SYSTEM) if one.is_file()), None)
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SuperpodError(f"The configuration {path} cannot be read: {error.strerror}.", 2) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" in line {place.line + 1}" if place else ""
        raise SuperpodError(f"The configuration {path} is no YAML{where}.", 2) from error
    return _checked({} if found is None else found, path)


def _checked(found: Any, path: Path) -> dict[str, str]:
    if not isinstance(found, dict):
        raise SuperpodError(f"The configuration {path} should have lines `key: value`.", 2)
    for key, value in found.items():
        if key not in KEYS:
            raise SuperpodError(f"{path}: there is no key {key!r}; allowed are {', '.join(KEYS)}.", 2)
        if not isinstance(value, (str, int, float)) or isinstance(value, bool) or value == "":
            raise SuperpodError(f"{path}: {key} is {value!r}; it should be a text or a number.", 2)
    texts = {key: str(value) for key, value in found.items()}
    # Paths are meant from where the file is.
    return texts | {key: str(path.parent / Path(texts[key]).expanduser()) for key in _FILES if key in texts}
