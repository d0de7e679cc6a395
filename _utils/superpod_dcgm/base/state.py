"""What a state returns."""

from __future__ import annotations

from typing import Any


def result(name: str, good: bool | None, comment: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Return the return of a state.

    :param good: True: it is as it should be; False: it is not; None: ``test=True``, and it would be changed.
    """
    return {"name": name, "result": good, "comment": comment, "changes": changes or {}}
