"""Client of CMDaemon's REST interface: which device has which roles, or why that cannot be told."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from superpod_dcgm.base.names import short
from superpod_dcgm.watcher.device_list import Device, Devices, Heard, Unknown

# The names become file names and Salt targets.
_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")
# About 250 bytes a node: far more than the largest cluster sends.
_LARGEST_ANSWER = 64 << 20
_ADMIN_DIRECTORY = "/root/.cm/"


@dataclass(frozen=True)
class Access:
    """How to reach CMDaemon: the keys of the section ``watcher``; ``ca`` is one file with all authorities."""

    heads: Sequence[str]
    port: int
    timeout: float
    ca: str
    verify_name: bool = False
    certificate: str = ""
    key: str = ""
    user: str = ""
    password_file: str = ""


def access(watcher: dict[str, Any]) -> Access:
    """Return how to reach CMDaemon, from the section ``watcher`` of the configuration."""
    names = Access.__dataclass_fields__
    return Access(**{key: value for key, value in watcher.items() if key in names})


class _NameCheck(HTTPAdapter):
    """Check the chain always, and the name only where the site's certificates carry it."""

    def __init__(self, verify_name: bool) -> None:
        self._verify_name = verify_name
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if not self._verify_name:
            kwargs["assert_hostname"] = False
        super().init_poolmanager(*args, **kwargs)


def devices(access: Access) -> Heard:
    """
    Ask the heads one after the other; return the first answer.

    :raises Unknown: no head gave a list; the reason of each.
    """
    reasons = []
    for head in access.heads:
        try:
            return Heard(head, parse(_get(access, head, "/rest/v1/device")))
        except Unknown as exc:
            reasons.append(f"{head}: {exc}")
    raise Unknown("; ".join(reasons) or "no BCM head is configured")


def parse(text: str) -> Devices:
    """
    Return the devices of an answer: ``{short name: {"roles": [...] | None, "category": ..., "type": ...}}``.

    ``roles`` is None where the answer does not speak of them.

    :raises Unknown: the text is not a list of devices.
    """
    try:
        payload = json.loads(text)
    except ValueError as exc:
        raise Unknown(f"the answer is not JSON: it begins with {text[:40]!r}") from exc
    if isinstance(payload, dict) and isinstance(payload.get("data"), list):
        payload = payload["data"]
    if not isinstance(payload, list):
        raise Unknown(f"the answer is not a list of devices{_error_text(payload)}")
    if not payload:
        raise Unknown("the list of devices is empty")
    found: Devices = {}
    for number, item in enumerate(payload, start=1):
        name, device = _device(item, number)
        if found.setdefault(name, device) != device:
            raise Unknown(f"the answer has {name!r} twice, with different values")
    return found


def _device(item: Any, number: int) -> tuple[str, Device]:
    host = item.get("hostname") if isinstance(item, dict) else None
    if not isinstance(host, str) or not _HOST_NAME.match(host):
        raise Unknown(f"device {number} of the answer has no usable hostname: {host!r}")
    roles = item.get("roles")
    if roles is not None:
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise Unknown(f"the roles of {host!r} are not a list of names: {roles!r}")
        roles = sorted({role.lower() for role in roles})
    return short(host), {"roles": roles, "category": _text(item.get("category")), "type": _text(item.get("type"))}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _error_text(payload: Any) -> str:
    # CMDaemon's older interface reports errors as HTTP 200 with this key.
    message = payload.get("errormessage") if isinstance(payload, dict) else None
    return f": it says {message!r}" if message else f" but {type(payload).__name__}"


def _get(access: Access, head: str, path: str) -> str:
    if any(name.startswith(_ADMIN_DIRECTORY) for name in (access.certificate, access.key)):
        raise Unknown(f"the administrator's pair in {_ADMIN_DIRECTORY} is not used: make a read-only certificate")
    with requests.Session() as session:
        # Neither a proxy nor ~/.netrc nor REQUESTS_CA_BUNDLE of the master's environment shall come between.
        session.trust_env = False
        session.headers["Accept-Encoding"] = "identity"
        session.verify = access.ca
        session.auth, session.cert = _credential(access)
        session.mount("https://", _NameCheck(access.verify_name))
        try:
            return _read(session, f"https://{head}:{access.port}{path}", access.timeout)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as exc:
            raise Unknown(_plain(exc, access)) from exc
        except OSError as exc:
            raise Unknown(f"a certificate or key cannot be used: {exc}") from exc


def _credential(access: Access) -> tuple[HTTPBasicAuth | None, tuple[str, str] | None]:
    if not access.user:
        return None, (access.certificate, access.key) if access.certificate else None
    try:
        with open(access.password_file, encoding="utf-8") as stream:
            return HTTPBasicAuth(access.user, stream.read().rstrip("\r\n").encode()), None
    except (OSError, UnicodeDecodeError) as exc:
        raise Unknown(f"the password file cannot be read: {exc}") from exc


def _read(session: requests.Session, url: str, timeout: float) -> str:
    """Return the body of a 200; the whole transfer takes ``timeout`` seconds at most, however slowly it drips."""
    deadline = time.monotonic() + timeout
    body = bytearray()
    with session.get(url, timeout=timeout, allow_redirects=False, stream=True) as response:
        _check_status(response)
        for block in _blocks(response):
            body += block
            if time.monotonic() > deadline or len(body) > _LARGEST_ANSWER:
                raise Unknown(f"the answer is not complete after {timeout:g} seconds and {len(body)} bytes")
    return body.decode("utf-8", "replace")


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """Give the body as it arrives: reading blocks of a fixed size would wait for each to be full, past any deadline."""
    read = getattr(response.raw, "read1", None)
    if read is None:
        # urllib3 1.26, which Salt 3006 brings.
        yield from response.iter_content(1 << 10)
        return
    while block := read(1 << 16):
        yield block


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status in (401, 403):
        raise Unknown(
            f"the credential was refused (HTTP {status}): make a new one; a new BCM licence makes older ones invalid"
        )
    if 300 <= status < 400:
        elsewhere = response.headers.get("Location", "another address")
        raise Unknown(f"a passive head: it points to {elsewhere} (HTTP {status})")
    if status != 200:
        raise Unknown(f"HTTP {status} instead of a list of devices")


def _plain(exc: Exception, access: Access) -> str:
    if isinstance(exc, requests.exceptions.SSLError):
        return f"TLS failed, checked against {access.ca}: {_cause(exc)}"
    if isinstance(exc, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return f"no answer within {access.timeout:g} seconds"
    if isinstance(exc, requests.ConnectionError):
        return f"no connection to port {access.port}: {_cause(exc)}"
    return f"the request failed: {_cause(exc)}"


def _cause(exc: BaseException) -> str:
    """Return the innermost reason: requests wraps it in three layers, each of which repeats address and object ids."""
    seen: BaseException = exc
    while True:
        inner = [part for part in (getattr(seen, "reason", None), *seen.args) if isinstance(part, BaseException)]
        if not inner:
            break
        seen = inner[0]
    return re.sub(r"<[^>]*>:? ?", "", str(seen)) or type(seen).__name__
