"""Asks Prometheus, VictoriaMetrics or Thanos by the HTTP API that they share; what goes wrong is one sentence."""

from __future__ import annotations

import base64
import http.client
import json
import math
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from superpod.errors import SuperpodError

# Queries that are asked at once.
TOGETHER = 4
_SAID = 300
Labels = dict[str, str]
Samples = list[tuple[float, float]]
Got = TypeVar("Got")


@dataclass(frozen=True)
class Row:
    """One row of an answer: its labels and its value."""

    labels: Labels
    value: float


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels and its samples, by time."""

    labels: Labels
    samples: Samples


@dataclass(frozen=True)
class Server:
    """Where the server is, and how one gets in. ``timeout`` is in seconds."""

    address: str
    token_file: str = ""
    user: str = ""
    password_file: str = ""
    ca_file: str = ""
    timeout: float = 30


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to somebody else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""


@dataclass
class Client:
    """Asks one server. ``warnings`` are what it said of its own answers: that they may be only a part."""

    server: Server
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._headers = {"Accept": "application/json", "User-Agent": "superpod", **_authorization(self.server)}
        # Proxies of the environment are for the internet; a monitoring host is not there.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirect()]
        if self.server.address.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=_trust(self.server)))
        self._opener = urllib.request.build_opener(*handlers)

    def instant(self, query: str, at: float) -> list[Row]:
        """
        Return the rows of a query at a moment; what is not a number is left out.

        :raises SuperpodError: there is no answer, or it is an error.
        """
        return self._ask(_rows, "query", query=query, time=f"{at:.3f}")

    def samples(self, query: str, at: float) -> list[Series]:
        """Return the stored samples that a selector with a range has: as they are, none filled in."""
        return self._ask(_series, "query", query=query, time=f"{at:.3f}")

    def range(self, query: str, begin: float, end: float, step: float) -> list[Series]:
        """Return a query's values from ``begin`` to ``end``, each ``step`` seconds."""
        asked = {"start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return self._ask(_series, "query_range", query=query, **asked)

    def together(self, calls: Iterable[Callable[[], Got]]) -> list[Got]:
        """Return what calls return, some of which run at once; the first error ends it."""
        with ThreadPoolExecutor(TOGETHER) as pool:
            return [one.result() for one in [pool.submit(call) for call in calls]]

    def _ask(self, read: Callable[[Any], list[Got]], what: str, **fields: str) -> list[Got]:
        # In milliseconds: Prometheus reads no fraction of a second with a unit.
        fields["timeout"] = f"{max(1, round(self.server.timeout * 1000))}ms"
        data = urllib.parse.urlencode(fields).encode()
        address = f"{self.server.address}/api/v1/{what}"
        answer = self._send(urllib.request.Request(address, data, self._headers))
        if answer.get("status") == "error":
            raise self._problem(f"says no{_short(str(answer.get('error', '')))}")
        try:
            # Go writes an empty list as null.
            result = read(answer["data"]["result"] or [])
        except (LookupError, TypeError, ValueError) as error:
            raise self._problem("does not answer as Prometheus does: is this the address of its API?") from error
        self._note(answer)
        return result

    def _note(self, answer: dict[str, Any]) -> None:
        """Keep what the server says of the whole answer; remarks on the query's style are none of it."""
        every = map(str, answer.get("warnings") or [])
        said = [text for text in every if not text.startswith(("PromQL info", "PromQL warning"))]
        if answer.get("isPartial"):
            said.append("a storage node did not answer")
        self.warnings += [text for text in said if text not in self.warnings]

    def _send(self, request: urllib.request.Request) -> dict[str, Any]:
        try:
            with self._opener.open(request, timeout=self.server.timeout + 1) as answer:
                return self._read(_whole(answer, self.server.timeout + 1).decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            raise self._refused(error) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._problem(_reason(error, self.server.timeout)) from error

    def _read(self, text: str) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except ValueError as error:
            kind = "a web page" if text.lstrip()[:1] == "<" else "something else"
            words = f"answers with {kind} instead of Prometheus' API: is it a login page, or Grafana's address?"
            raise self._problem(words) from error
        return found if isinstance(found, dict) else {}

    def _refused(self, error: urllib.error.HTTPError) -> SuperpodError:
        said = _said(error)
        if 300 <= error.code < 400:
            target = error.headers.get("Location", "somewhere else")
            return self._problem(f"redirects to {target}. That is not followed: give the address that answers")
        if error.code in (401, 403):
            way = "the token or password given is refused" if "Authorization" in self._headers else "none was given"
            return self._problem(f"asks who you are (HTTP {error.code}), and {way}{said}")
        if error.code in (404, 405):
            return self._problem(f"has no query API there (HTTP {error.code}): is a part of the path missing?")
        if error.code in (503, 504) and "time" in said:
            return self._problem(f"gave up{said}. Ask for less time (--since), or give it more (--timeout)")
        return self._problem(f"says no (HTTP {error.code}){said}")

    def _problem(self, words: str) -> SuperpodError:
        end = "" if words.endswith(("?", ".")) else "."
        return SuperpodError(f"Prometheus at {self.server.address} {words}{end}")


def _whole(answer: http.client.HTTPResponse, seconds: float) -> bytes:
    """
    Return the body of an answer.

    :raises TimeoutError: it comes so slowly that it is not there in time.
    :raises http.client.IncompleteRead: it ends before its end.
    """
    deadline, found = time.monotonic() + seconds, bytearray()
    while part := answer.read1(1 << 20):
        found += part
        if time.monotonic() > deadline:
            raise TimeoutError
    length = answer.headers.get("Content-Length") or ""
    if length.isdecimal() and len(found) < int(length):
        raise http.client.IncompleteRead(bytes(found))
    return bytes(found)


def _rows(found: list[dict[str, Any]]) -> list[Row]:
    rows = [Row(dict(one["metric"]), float(one["value"][1])) for one in found]
    return [row for row in rows if math.isfinite(row.value)]


def _series(found: list[dict[str, Any]]) -> list[Series]:
    pairs = ((dict(one["metric"]), [(float(at), float(value)) for at, value in one["values"]]) for one in found)
    return [Series(labels, [one for one in samples if math.isfinite(one[1])]) for labels, samples in pairs]


def _said(error: urllib.error.HTTPError) -> str:
    """Return what the server says itself, in short; a web page says nothing."""
    try:
        text = error.read(65536).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        return ""
    try:
        text = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        text = "" if text[:1] in ("<", "{") else text
    return _short(text)


def _short(text: str) -> str:
    first = " ".join(text.split())[:_SAID]
    return f": {first}" if first else ""


def _reason(error: Exception, seconds: float) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, (TimeoutError, socket.timeout)):
        return f"did not answer within {seconds:g} seconds (--timeout)"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted ({reason.verify_message}): name its CA with --ca"
    if isinstance(reason, ssl.SSLError):
        return f"cannot be spoken to by TLS ({reason.reason or reason}): is it http://?"
    if isinstance(reason, socket.gaierror):
        return "cannot be reached: nobody knows that name"
    if isinstance(reason, OSError) and reason.strerror and not isinstance(reason, ConnectionResetError):
        return f"cannot be reached: {reason.strerror[:1].lower()}{reason.strerror[1:]}"
    return f"ended the connection without an answer ({type(reason).__name__}): is it https://?"


def _trust(server: Server) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=server.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        reason = "holds no certificate" if isinstance(error, ssl.SSLError) else f"cannot be read: {error.strerror}"
        raise SuperpodError(f"The CA file {server.ca_file} {reason}.", 2) from error


def _authorization(server: Server) -> dict[str, str]:
    if server.token_file:
        return {"Authorization": f"Bearer {_secret(server.token_file, 'token')}"}
    if server.user:
        text = f"{server.user}:{_secret(server.password_file, 'password')}"
        return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}
    return {}


def _secret(path: str, what: str) -> str:
    """Return the one line of a file with a secret; the secret itself is in no message."""
    try:
        text = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "") or "it is no text"
        raise SuperpodError(f"The {what} file {path} cannot be read: {reason}.", 2) from error
    if not text or not text.isprintable():
        raise SuperpodError(f"The {what} file {path} must hold the {what}, in one line.", 2)
    if what == "token" and not text.isascii():
        raise SuperpodError(f"The token file {path} holds characters that no token has.", 2)
    return text


def matchers(**labels: str | Sequence[str]) -> str:
    """Return matchers of PromQL, quoted; several values are any of them, and an empty one is left out."""
    found = []
    for name, value in labels.items():
        if isinstance(value, str):
            found += [f"{name}={_quoted(value)}"] if value else []
        elif value:
            found.append(f"{name}=~{_quoted('|'.join(map(_literal, value)))}")
    return ",".join(found)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _literal(text: str) -> str:
    """Return a regular expression of RE2 that matches just this text."""
    return "".join(f"\\{letter}" if letter in r"\.+*?()|[]{}^$" else letter for letter in text)
