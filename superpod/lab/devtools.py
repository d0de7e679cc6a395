"""Speaks the DevTools protocol with a Chromium over two pipes: JSON messages, each with a zero byte behind it."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable
from typing import Any

from superpod.errors import SuperpodError

Json = dict[str, Any]
# Kinds of console messages that say that something is wrong.
ERRORS = ("error", "assert")


class Page:
    """A tab of a Chromium, and what its console said."""

    def __init__(self, reading: int, writing: int, deadline: float) -> None:
        self._reading, self._writing, self._deadline = reading, writing, deadline
        self._number, self._session, self._rest = 0, "", b""
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Json:
        """
        Return what a method answers.

        :raises SuperpodError: it fails, or time is up.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        text = json.dumps({**message, "sessionId": self._session} if self._session else message)
        self._write(text.encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") != self._number:
                self._note(answer)
            elif "error" in answer:
                raise SuperpodError(f"Chromium refused {method}: {answer['error'].get('message')}")
            else:
                return dict(answer["result"])

    def evaluate(self, expression: str) -> Any:
        """
        Return the value of an expression of JavaScript.

        :raises SuperpodError: it throws.
        """
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise SuperpodError(f"The page cannot answer {expression}: {_thrown(found['exceptionDetails'])}")
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """
        Wait until an expression of JavaScript is true.

        :raises SuperpodError: time is up.
        """
        while not self.evaluate(condition):
            if time.monotonic() > self._deadline:
                said = f"; its console said: {'; '.join(self.errors)}" if self.errors else ""
                raise SuperpodError(f"The page did not come so far: {condition}{said}")
            time.sleep(0.1)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._writing, data) :]

    def _message(self) -> Json:
        while b"\0" not in self._rest:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._reading], [], [], left)[0]:
                raise SuperpodError("Chromium does not answer in time.")
            data = os.read(self._reading, 1 << 20)
            if not data:
                raise SuperpodError("Chromium has ended.")
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(text))

    def _note(self, event: Json) -> None:
        if found := noted(event.get("method", ""), event.get("params", {})):
            self.errors.append(found)


def _console(parameters: Json) -> str:
    if parameters["type"] not in ERRORS:
        return ""
    return " ".join(str(one.get("value", one.get("description", ""))) for one in parameters["args"])


def _entry(parameters: Json) -> str:
    entry = parameters["entry"]
    return f"{entry['text']} {entry.get('url', '')}".strip() if entry["level"] == "error" else ""


def _thrown(details: Json) -> str:
    return str(details.get("exception", {}).get("description") or details.get("text"))


_EVENTS: dict[str, Callable[[Json], str]] = {
    "Runtime.consoleAPICalled": _console,
    "Runtime.exceptionThrown": lambda parameters: _thrown(parameters["exceptionDetails"]),
    "Log.entryAdded": _entry,
    "Inspector.targetCrashed": lambda _: "the page crashed",
}


def noted(method: str, parameters: Json) -> str:
    """Return what an event says is wrong; nothing if nothing is."""
    return _EVENTS[method](parameters) if method in _EVENTS else ""
