"""Does the exporter answer on /metrics, and is it ours that answers?"""

from __future__ import annotations

import glob
import os
import re
import socket
import ssl
import time
import urllib.parse

import requests

from superpod_dcgm.base import systemd

_PAUSE = 0.5
_PROBE_TIMEOUT = 5
# What OpenSSL says when the other side speaks no TLS, and when it wants a client certificate (TLS 1.3, TLS 1.2).
_PLAIN_HTTP = "WRONG_VERSION_NUMBER"
_CERTIFICATE_WANTED = re.compile(r"ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|HANDSHAKE_FAILURE)")


def listens(pid: int, port: int) -> bool:
    """
    Return whether process ``pid`` itself listens on TCP ``port``.

    An answer on the port alone proves nothing: another exporter may hold it while ours cannot start.
    """
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{table}", encoding="ascii") as stream:
                rows = [line.split() for line in stream][1:]
        except OSError:
            continue
        # Columns of proc(5): 1 local address:port in hexadecimal, 3 state (0A is LISTEN), 9 inode.
        inodes |= {row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    links = set()
    for path in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            links.add(os.readlink(path))
        except OSError:
            continue
    return any(f"socket:[{inode}]" in links for inode in inodes)


def await_metrics(unit: str, url: str, timeout: float) -> str:
    """
    Wait until ``url`` answers with metrics from the main process of ``unit``.

    :param timeout: seconds.
    :return: an empty string, or the last reason why it did not.
    """
    port = int(re.findall(r":(\d+)/", url)[0])
    deadline = time.monotonic() + timeout
    while True:
        reason = _no_metrics(unit, url, port)
        if not reason or time.monotonic() > deadline:
            return reason
        time.sleep(_PAUSE)


def _no_metrics(unit: str, url: str, port: int) -> str:
    state = systemd.show(unit)
    if state["ActiveState"] != "active":
        return f"{unit} is {state['ActiveState']} ({state['SubState']}, result {state['Result']})"
    if reason := _no_answer(url):
        return reason
    if not listens(int(state["MainPID"]), port):
        return f"{url} is answered by another process than {unit}'s"
    return ""


def _no_answer(url: str) -> str:
    """Return why ``url`` does not answer. With a web_config, being refused without a credential is an answer."""
    try:
        # Loopback: the name in the certificate is the node's, and no secret is sent.
        answer = requests.get(url, timeout=10, verify=False, allow_redirects=False)
    except requests.RequestException as exc:
        if _PLAIN_HTTP in str(exc):
            # A web_config without TLS, for basic authentication alone.
            return _no_answer(url.replace("https:", "http:"))
        if not isinstance(exc, requests.Timeout) and _wants_certificate(url):
            return ""
        return f"{url} does not answer: {exc}"
    if answer.status_code not in (200, 401):
        return f"{url} answers {answer.status_code}: {answer.text.strip()[:200]}"
    return ""


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
