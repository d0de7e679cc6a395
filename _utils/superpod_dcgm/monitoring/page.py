"""How a Prometheus or Grafana of this machine is asked, by its API and pages."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace
from typing import Any

from superpod_dcgm.base import files

# Seconds for the next bytes, and for a whole answer; bytes of an answer, and of those that are read at once.
_ANSWER, _WHOLE = 5.0, 20.0
_LARGEST, _BLOCK = 256 << 20, 1 << 16
_LARGEST_PASSWORD = 4096
# Every Prometheus answers here.
_ASKED = "/api/v1/status/buildinfo"


@dataclass(frozen=True)
class Page:
    """
    Where a Prometheus or Grafana of this machine answers.

    ``ca``: the file that its certificate is checked against; its own certificate will do. ``password_file``: the
    file with the password of ``user``. ``prefix``: what its paths begin with. ``host``: the address of this machine at
    which it listens.
    """

    port: int
    tls: bool = False
    ca: str = ""
    user: str = ""
    password_file: str = ""
    prefix: str = ""
    host: str = "127.0.0.1"

    def rooted(self) -> Page:
        """Return this page with the prefix that the server has for its paths (``--web.route-prefix``), if it tells."""
        if self.fetch(_ASKED)[0] != 404:
            return self
        status, address = self.fetch("/")
        prefix = urllib.parse.urlsplit(address).path.rstrip("/") if 300 <= status < 400 else ""
        found = replace(self, prefix=prefix)
        return found if prefix.startswith("/") and found.fetch(_ASKED)[0] == 200 else self

    def fetch(self, path: str, post: bool = False) -> tuple[int, str]:
        """
        Return status and text of a page; status 0 if it does not answer, or not with a good certificate.

        The text of a redirection is where it leads.

        :param post: whether it is to do something.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        try:
            address = f"http{'s' if self.tls else ''}://{host}:{self.port}{self.prefix}{path}"
            request = urllib.request.Request(address, data=b"" if post else None)
            if self.user:
                # Not to another place that it may name.
                request.add_unredirected_header("Authorization", self._credential())
            with self._opener().open(request, timeout=_ANSWER) as answer:
                return answer.status, _text(answer)
        except urllib.error.HTTPError as exc:
            return exc.code, str(exc.headers.get("Location", ""))
        except (OSError, ValueError, http.client.HTTPException):
            return 0, ""

    def data(self, path: str) -> dict[str, Any]:
        """Return what the API answers under ``data``; nothing where it answers otherwise."""
        status, text = self.fetch(path)
        try:
            found = json.loads(text)["data"] if status == 200 else {}
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _credential(self) -> str:
        password = files.read_bounded(self.password_file, _LARGEST_PASSWORD).decode().rstrip("\r\n")
        return f"Basic {base64.b64encode(f'{self.user}:{password}'.encode()).decode()}"

    def _opener(self) -> urllib.request.OpenerDirector:
        # Nothing of the minion's environment: no proxy.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _Stays()]
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # The name in it is the host's, and 127.0.0.1 is asked.
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(self.ca)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        return urllib.request.build_opener(*handlers)


class _Stays(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: what another place says is not what this server says."""

    def redirect_request(self, *_: Any) -> None:
        """Return no request, so that the redirection itself is the answer."""


def _text(answer: http.client.HTTPResponse) -> str:
    """Return what is answered; ``ValueError`` where that is too much, or takes too long."""
    deadline, found = time.monotonic() + _WHOLE, bytearray()
    while block := answer.read1(_BLOCK):
        found += block
        if len(found) > _LARGEST or time.monotonic() > deadline:
            raise ValueError("too much, or too slow")
    if answer.length:
        raise http.client.IncompleteRead(bytes(found), answer.length)
    return found.decode(errors="replace")
