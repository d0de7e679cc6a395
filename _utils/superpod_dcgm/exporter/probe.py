"""Does the exporter answer on /metrics, and is it ours that answers?"""

from __future__ import annotations

import re
import socket
import ssl
import time
import urllib.parse
from typing import TYPE_CHECKING

from superpod_dcgm.base import complaint, systemd
from superpod_dcgm.exporter.listener import listens

if TYPE_CHECKING:
    import requests

_PAUSE = 0.5
_PROBE_TIMEOUT = 5
ANSWER_TIMEOUT = 10
# Of an answer that is none.
_SHOWN = 200
# What OpenSSL says when the other side speaks no TLS, and when it wants a client certificate (TLS 1.3, TLS 1.2).
_PLAIN_HTTP = "WRONG_VERSION_NUMBER"
_CERTIFICATE_WANTED = re.compile(r"ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|HANDSHAKE_FAILURE)")


def await_metrics(unit: str, url: str, timeout: float, patience: float = ANSWER_TIMEOUT) -> str:
    """
    Wait until ``url`` answers with metrics from the main process of ``unit``.

    :param timeout: seconds.
    :param patience: seconds that one answer may take.
    :return: an empty string, or the last reason why it did not.
    """
    port = int(re.findall(r":(\d+)/", url)[0])
    deadline = time.monotonic() + timeout
    while True:
        reason = _no_metrics(unit, url, port, patience)
        if not reason or time.monotonic() > deadline:
            return reason
        time.sleep(_PAUSE)


def _no_metrics(unit: str, url: str, port: int, patience: float) -> str:
    state = systemd.show(unit)
    if state["ActiveState"] != "active":
        return f"{unit} is {state['ActiveState']} ({state['SubState']}, result {state['Result']})"
    if reason := _no_answer(url, patience):
        return reason
    if not listens(int(state["MainPID"]), port):
        return f"{url} is answered by another process than {unit}'s"
    return ""


def _no_answer(url: str, patience: float = ANSWER_TIMEOUT) -> str:
    """Return why ``url`` does not answer. With a web_config, being refused without a credential is an answer."""
    # Loaded here: it takes longer than all the rest of a role call that stops the exporter, and asks nothing.
    import requests

    try:
        return _refused(url, patience)
    except requests.RequestException as exc:
        if _PLAIN_HTTP in str(exc):
            # A web_config without TLS, for basic authentication alone.
            return _no_answer(url.replace("https:", "http:"), patience)
        if not isinstance(exc, requests.Timeout) and _wants_certificate(url):
            return ""
        return f"{url} does not answer: {_cause(exc)}"


def _refused(url: str, patience: float) -> str:
    """
    Return what ``url`` answers if that is neither metrics nor the question for a credential, else ``""``.

    :raises RequestException: there is no answer.
    """
    import requests

    with requests.Session() as session:
        # This node asks itself: no proxy, ~/.netrc or CA of the minion's environment shall come between.
        session.trust_env = False
        # The name in the certificate is the node's, and no secret is sent.
        session.verify = False
        with session.get(url, timeout=patience, allow_redirects=False, stream=True) as answer:
            if answer.status_code in (200, 401):
                return ""
            return f"{url} answers {answer.status_code}: {_beginning(answer)}".rstrip(": ")


def _beginning(answer: requests.Response) -> str:
    """The first words of an answer, which may drip."""
    deadline, body = time.monotonic() + _PROBE_TIMEOUT, b""
    for block in answer.iter_content(1):
        body += block
        if len(body) >= _SHOWN or time.monotonic() > deadline:
            break
    return " ".join(complaint.clean(body.decode("utf-8", "replace")))


def _cause(exc: BaseException) -> str:
    """Return the innermost reason: requests wraps it in layers that repeat address and object ids."""
    seen = exc
    while inner := [part for part in (getattr(seen, "reason", None), *seen.args) if isinstance(part, BaseException)]:
        seen = inner[0]
    return re.sub(r"<[^>]*>:? ?|^HTTP\w+\([^)]*\): ?", "", str(seen)) or type(seen).__name__


def _wants_certificate(url: str) -> bool:
    """
    Return whether a server refuses clients without a certificate.

    With TLS 1.3 a client learns that only after the handshake; when it has sent a request by then, the server's
    reason may get lost with the connection that it closes. So nothing is sent here.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or not parts.port:
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname, parts.port), timeout=_PROBE_TIMEOUT) as plain,
            context.wrap_socket(plain) as connection,
        ):
            connection.recv(1)
    except OSError as exc:
        return bool(_CERTIFICATE_WANTED.search(str(exc)))
    return False
