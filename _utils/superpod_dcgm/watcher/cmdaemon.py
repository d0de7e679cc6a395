"""Client of CMDaemon's REST interface: which device has which roles, or why that cannot be told."""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.auth import HTTPBasicAuth

from superpod_dcgm.base import files
from superpod_dcgm.watcher import device_list, tls
from superpod_dcgm.watcher.device_list import Heard, Listed, Unknown

# About 250 bytes a node: far more than the largest cluster sends.
_LARGEST_ANSWER = 64 << 20
_LARGEST_PASSWORD = 64 << 10
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


def devices(access: Access, run_on: Collection[str] = ()) -> Heard:
    """
    Ask the heads one after the other; return the first answer.

    :param run_on: the roles of which a node needs one.
    :raises Unknown: no head gave a list; the reason of each.
    """
    reasons = []
    for head in access.heads:
        try:
            return parse(_get(access, head, "/rest/v1/device"), head, run_on)
        except Unknown as exc:
            reasons.append(f"{head}: {exc}")
    raise Unknown("; ".join(reasons) or "no BCM head is configured")


def parse(text: str, head: str = "", run_on: Collection[str] = ()) -> Heard:
    """
    Return what an answer says. One odd device, or one odd role, costs itself and not the list.

    :param head: who answered.
    :param run_on: the roles of which a node needs one.
    :raises Unknown: the text is not a list of devices, or nothing of it can be used.
    """
    problems: list[str] = []
    listed, complete = [], True
    for number, item in enumerate(_items(text), start=1):
        host = item.get("hostname") if isinstance(item, dict) else None
        if isinstance(host, str) and device_list.is_host_name(host):
            listed.append(_listed(host, item))
            continue
        problems.append(f"device {number} of the answer has no usable hostname: {device_list.shown(host)}")
        complete = complete and _is_no_node(item)
    if not listed:
        raise Unknown(problems[0])
    heard = device_list.collected(head, listed, run_on, problems, complete)
    if heard.devices.keys() == heard.odd.doubts.keys():
        name, doubt = next(iter(heard.odd.doubts.items()))
        raise Unknown(f"the roles of no device can be read: of {name!r}: {doubt}")
    return heard


def _items(text: str) -> list[Any]:
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Unknown(f"the answer is not JSON: it begins with {text[:40]!r}") from exc
    if isinstance(payload, dict) and isinstance(payload.get("data"), list):
        payload = payload["data"]
    if not isinstance(payload, list):
        raise Unknown(f"the answer is not a list of devices{_error_text(payload)}")
    if not payload:
        raise Unknown("the list of devices is empty")
    return payload


def _listed(host: str, item: dict[str, Any]) -> Listed:
    roles = device_list.read_roles(item.get("roles"))
    category, kind = (device_list.text(item.get(key)) for key in ("category", "type"))
    return Listed(host, device_list.device(roles.names, category, kind, _address(item.get("ip"))), roles.odd)


def _is_no_node(item: Any) -> bool:
    """Whether BCM says that this is a switch, a power unit or the like: then it is no node of ours."""
    kind = item.get("type") if isinstance(item, dict) else None
    return isinstance(kind, str) and bool(kind) and not kind.lower().endswith("node")


def _address(value: Any) -> str | None:
    try:
        found = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return None
    # BCM writes 0.0.0.0 for a device that has none.
    return None if found is None or found.is_unspecified else str(found)


def _error_text(payload: Any) -> str:
    # CMDaemon's older interface reports errors as HTTP 200 with this key.
    message = payload.get("errormessage") if isinstance(payload, dict) else None
    return f": it says {device_list.shown(message)}" if message else f" but {type(payload).__name__}"


def _get(access: Access, head: str, path: str) -> str:
    if any(name.startswith(_ADMIN_DIRECTORY) for name in (access.certificate, access.key)):
        raise Unknown(f"the administrator's pair in {_ADMIN_DIRECTORY} is not used: make a read-only certificate")
    with requests.Session() as session:
        # Neither a proxy nor ~/.netrc nor REQUESTS_CA_BUNDLE of the master's environment shall come between.
        session.trust_env = False
        session.headers["Accept-Encoding"] = "identity"
        session.verify = access.ca
        session.auth, session.cert = _credential(access)
        session.mount("https://", tls.Adapter(access.verify_name))
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
        password = files.read_bounded(access.password_file, _LARGEST_PASSWORD).decode().rstrip("\r\n")
        return HTTPBasicAuth(access.user, password.encode()), None
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
    inner = _innermost(exc)
    if isinstance(exc, requests.exceptions.SSLError):
        said = tls.refusal(inner, access.ca)
        return f"TLS failed: {said}" if said else f"TLS failed, checked against {access.ca}: {_words(inner)}"
    if isinstance(exc, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return f"no answer within {access.timeout:g} seconds"
    if isinstance(exc, requests.ConnectionError):
        return f"no connection to port {access.port}: {_words(inner)}"
    return f"the request failed: {_words(inner)}"


def _innermost(exc: BaseException) -> BaseException:
    """Return the innermost reason: requests wraps it in three layers, each of which repeats address and object ids."""
    while True:
        inner = [part for part in (getattr(exc, "reason", None), *exc.args) if isinstance(part, BaseException)]
        if not inner:
            return exc
        exc = inner[0]


def _words(exc: BaseException) -> str:
    return re.sub(r"<[^>]*>:? ?", "", str(exc)) or type(exc).__name__
