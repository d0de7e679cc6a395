"""
Whether the GPUs of this node are free for maintenance: nothing of ours may use them until somebody takes them back.

The record is in /run, so that a reboot ends it by itself. As long as it is there, a condition in a drop-in keeps our
units down, whoever starts them: slurmd, a host engine, a state or an administrator.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from superpod_dcgm.base import files, paths

UNITS = paths.GPU_UNITS


def held() -> dict[str, Any] | None:
    """
    Return the record of the maintenance that goes on, or None. ``since`` is its time stamp.

    A record that cannot be read counts: that it is there is what matters.
    """
    if not os.path.lexists(paths.GPUS_FREED):
        return None
    found = files.read_json(paths.GPUS_FREED)
    return found if isinstance(found, dict) and isinstance(found.get("since"), str) else {"since": "an unknown time"}


def sentence(record: dict[str, Any]) -> str:
    """Return what a report says of a record (of ``held``)."""
    return f"GPUs are free for maintenance since {record['since']}; dcgm_gpu.resume brings everything back"


def begin(now: str) -> dict[str, Any]:
    """
    Note that the GPUs are free, and let none of our units start; one that runs goes on. Return the record.

    systemd has to read its units again afterwards.

    :param now: a time stamp.
    :raises OSError: it cannot be noted.
    """
    files.make_directory(paths.NODE_RUNTIME)
    if not (record := held()):
        record = {"since": now}
        files.write_atomic(paths.GPUS_FREED, json.dumps(record) + "\n")
    for unit in UNITS:
        path = _drop_in(unit)
        files.make_directory(os.path.dirname(path))
        text = f"# {sentence(record)}.\n[Unit]\nConditionPathExists=!{paths.GPUS_FREED}\n"
        files.write_atomic(path, text)
    return record


def end() -> None:
    """
    Let our units start again; systemd has to read its units again afterwards.

    :raises OSError: a file cannot be removed.
    """
    for unit in UNITS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_drop_in(unit))
        # Only where nobody else has a drop-in there.
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(_drop_in(unit)))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(paths.GPUS_FREED)


def _drop_in(unit: str) -> str:
    return os.path.join(paths.RUNTIME_UNITS, f"{unit}.d", paths.GPUS_FREED_DROP_IN)
