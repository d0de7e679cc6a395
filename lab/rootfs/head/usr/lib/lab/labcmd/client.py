"""How the stand-in for cmsh asks the daemon: as root does, with the administrator's certificate."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from labcmd.pki import Authority
from labcmd.state import Mistake, State


def ask(state: State, path: str) -> Any:
    """Return the answer of the active head."""
    trouble = ["the daemon was never started"]
    for address in state.read("addresses.json", {}).values():
        try:
            status, text = fetch(state, tuple(address), path)
        except OSError as exc:
            trouble.append(str(exc))
            continue
        if status == http.client.OK:
            return json.loads(text)
        trouble.append(f"HTTP {status}")
    raise Mistake(f"cmsh: the cluster management daemon does not answer: {trouble[-1]}")


def fetch(state: State, address: tuple[str, int], path: str) -> tuple[int, bytes]:
    """Return status and body of one request; the certificate's names are not those that are called."""
    authority = Authority(state.paths)
    context = ssl.create_default_context(cafile=str(authority.root.certificate))
    context.load_verify_locations(authority.cluster.certificate)
    context.check_hostname = False
    context.load_cert_chain(authority.admin.certificate, authority.admin.key)
    connection = http.client.HTTPSConnection(*address, context=context, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
