"""Asks a Grafana by its HTTP API with a service-account token, and says in one sentence why it gets no answer."""

from __future__ import annotations

import json
import os
import ssl
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from superpod_dcgm.base import files
from superpod_dcgm.monitoring.grafana_tls import Adapter, authorities, refusal

# Bytes of an answer and of a token; tries of a question that changes nothing, and seconds between them.
_LARGEST, _LARGEST_TOKEN = 64 << 20, 8192
_TRIES, _PAUSE = 3, 1.0
# What a server, or a proxy before it, says while it starts or is too busy.
_TRY_AGAIN = (500, 502, 503, 504)
# How deep the reason of a failure may lie in others.
_DEEPEST = 8
_HIDDEN = "(token)"
_TOKEN = "dcgm:grafana:token_file"


class GrafanaError(Exception):
    """Grafana does not do what is wanted. Its text is one sentence, and never has the token."""


@dataclass(frozen=True)
class Access:
    """Where a Grafana is, a path below its host included; by which token it is asked, and for how many seconds."""

    url: str
    token_file: str = ""
    ca: str = ""
    timeout: float = 15


@dataclass(frozen=True)
class Answer:
    """What it said: HTTP status, content, and the message in it."""

    status: int
    content: Any = None

    @property
    def message(self) -> str:
        """Its reason in one line, with the permission that is missing where it names one."""
        found = self.content if isinstance(self.content, dict) else {}
        return " ".join(str(found.get("message") or found.get("title") or "no reason given").split())

    @property
    def fields(self) -> dict[str, Any]:
        """Its content, where that is a mapping."""
        return self.content if isinstance(self.content, dict) else {}

    @property
    def good(self) -> bool:
        """Whether it did what was asked."""
        return self.status in (200, 201)

    @property
    def absent(self) -> bool:
        """Whether there is no such thing, or no such API."""
        return self.status in (404, 410)

    @property
    def clashes(self) -> bool:
        """Whether there is something in the way already."""
        return self.status in (409, 412)


def token(path: str) -> str:
    """
    Return the token in a file.

    :raises GrafanaError: it is missing or empty, or others than its owner can read it.
    """
    try:
        found = os.stat(path)
        if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in (0, os.geteuid()):
            mode = stat.S_IMODE(found.st_mode)
            raise GrafanaError(
                f"{_TOKEN}: {path} has the mode {mode:04o} and the owner {found.st_uid}: others could read the token. "
                f"Make a new token, and give the file to root alone (chown root, chmod 0600)"
            )
        words = files.read_bounded(path, _LARGEST_TOKEN).decode().split()
    except (OSError, UnicodeDecodeError) as exc:
        raise GrafanaError(
            f"{_TOKEN}: {path} cannot be read: {getattr(exc, 'strerror', None) or 'it is no text'}"
        ) from None
    if len(words) != 1 or not words[0].isascii() or not words[0].isprintable():
        raise GrafanaError(f"{_TOKEN}: {path} must hold one word, the token of a service account")
    return words[0]


class Client:
    """A Grafana that is asked; redirections are not followed, and nothing of this process's environment counts."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._token = token(access.token_file) if access.token_file else ""
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("https://", Adapter())
        self._session.headers.update({"Accept": "application/json"})
        if self._token:
            self._session.headers["Authorization"] = f"Bearer {self._token}"

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self.access.url.rstrip("/")

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, takes: tuple[int, ...] = ()) -> Answer:
        """
        Return what it answers to one question; what is missing, not allowed or in the way is an answer, too.

        :param path: below its address, with a slash at the front.
        :param takes: HTTP status of the server's own faults that are an answer here.
        :raises GrafanaError: it does not answer, refuses the token, is no Grafana, or is out of order.
        """
        tries = _TRIES if method == "GET" else 1
        while True:
            tries -= 1
            try:
                status, text, place = self._once(method, path, body)
            except requests.RequestException as exc:
                if not tries or isinstance(exc, requests.exceptions.SSLError):
                    raise GrafanaError(self._hidden(self._silence(exc))) from None
            else:
                if not tries or status in takes or status not in _TRY_AGAIN:
                    return self._judged(status, text, place, takes)
            time.sleep(_PAUSE)

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, str, str]:
        wait = self.access.timeout
        ca = self.access.ca or authorities()
        answer = self._session.request(
            method, f"{self.url}{path}", json=body, timeout=(wait, wait), allow_redirects=False, stream=True, verify=ca
        )
        with answer:
            deadline, found = time.monotonic() + wait, bytearray()
            for block in answer.iter_content(1 << 16):
                found += block
                if len(found) > _LARGEST or time.monotonic() > deadline:
                    raise requests.exceptions.ReadTimeout("too much, or too slow")
            return answer.status_code, found.decode(errors="replace"), answer.headers.get("Location", "")

    def _judged(self, status: int, text: str, place: str, takes: tuple[int, ...]) -> Answer:
        if 300 <= status < 400:
            where = self._hidden(place.split("?")[0] or "nowhere")
            raise GrafanaError(
                f"{self.url} sends to {where} (HTTP {status}): is it the login page of a proxy? Give Grafana's "
                "own address "
                "in dcgm:grafana:url, with https and its sub-path"
            )
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if status in (200, 201) and not isinstance(content, (dict, list)):
            raise GrafanaError(
                f"{self.url} answers with a page instead of Grafana's API (HTTP {status}): is a proxy or a "
                "login page before "
                "it? Give Grafana's own address in dcgm:grafana:url, with its sub-path"
            )
        answer = Answer(status, json.loads(self._hidden(json.dumps(content))) if content else content)
        if status == 401:
            raise GrafanaError(
                f"{self.url} does not know the token in {self.access.token_file} (HTTP 401: {answer.message}): "
                "make a token "
                f"of a service account there, and put it into that file ({_TOKEN})"
            )
        if status not in takes and (status == 429 or status >= 500):
            raise GrafanaError(
                f"{self.url} is out of order (HTTP {status}: {answer.message}): try again, or see its log"
            )
        return answer

    def _silence(self, exc: requests.RequestException) -> str:
        """Why there was no answer, from the innermost reason."""
        inner: BaseException = exc
        for _ in range(_DEEPEST):
            inner = _below(inner) or inner
            if isinstance(inner, ssl.SSLError):
                return f"{self.url}: {refusal(inner, self.access.ca)}"
        if isinstance(exc, requests.exceptions.Timeout):
            return f"{self.url} does not answer within {self.access.timeout:g} s (dcgm:grafana:timeout)"
        if isinstance(exc, (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema)):
            return f"dcgm:grafana:url: {self.url} is no address"
        why = getattr(inner, "strerror", None) or type(inner).__name__
        host = urlsplit(self.url).netloc
        return f"{self.url} does not answer ({host}: {why}): look at dcgm:grafana:url, and whether Grafana runs"

    def _hidden(self, text: str) -> str:
        return text.replace(self._token, _HIDDEN) if self._token else text


def _below(exc: BaseException) -> BaseException | None:
    for found in (getattr(exc, "reason", None), exc.__cause__, exc.__context__, *exc.args):
        if isinstance(found, BaseException) and found is not exc:
            return found
    return None


def health(client: Client) -> str:
    """
    Return the version of a Grafana that is well; it tells that without a token.

    :raises GrafanaError: it does not answer, or its database is not well.
    """
    answer = client.ask("GET", "/api/health")
    if not answer.good or answer.fields.get("database") != "ok":
        raise GrafanaError(
            f"{client.url} is no Grafana that is well: /api/health says HTTP {answer.status}, database "
            f"{answer.fields.get('database', 'not told')}; look at dcgm:grafana:url and its sub-path"
        )
    return str(answer.fields.get("version") or "that it does not tell")
