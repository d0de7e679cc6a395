"""XIDs that a job's GPUs had while it held them: by the kernel log, and by DCGM where that tells more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from superpod_dcgm.monitoring import xids

from superpod.reports.devices import Device, Try, where
from superpod.reports.prometheus import Client
from superpod.reports.times import MINUTE

_BY = "host, gpu, xid"
_KERNEL, _KERNEL_OK = "superpod_dcgm_kernel_xid_total", "superpod_dcgm_kernel_log_ok"
_TOTAL, _COUNT = "DCGM_EXP_XID_ERRORS_TOTAL", "DCGM_EXP_XID_ERRORS_COUNT"
# A GPU without XIDs has a row without this label.
_ANY = 'xid!~"0?"'
Key = tuple[str, str, str]
# The kernel log is read each half minute, and scraped as often.
_LATE = 90


@dataclass(frozen=True)
class Xid:
    """An XID; ``gpu`` is empty where nobody knows it, ``count`` None where it is only known that it was there."""

    host: str
    gpu: str
    xid: str
    count: int | None

    @property
    def what(self) -> str:
        """What it asks for."""
        name = xids.of(int(self.xid)) if self.xid.isdecimal() else ""
        return xids.CLASSES[name].what if name else "in no class that is known"

    @property
    def harmless(self) -> bool:
        """Whether nothing has to be done."""
        return self.xid.isdecimal() and xids.of(int(self.xid)) == "nothing"


def collect(client: Client, tries: Iterable[Try], devices: Iterable[Device]) -> tuple[list[Xid], list[str]]:
    """
    Return the XIDs of a job's GPUs, and the nodes of which nothing tells XIDs.

    :raises SuperpodError: the server does not answer.
    """
    mine = list(devices)
    gpus = {(device.host, device.gpu) for device in mine} | {(device.host, "") for device in mine}
    found: dict[Key, int | None] = {}
    told: set[str] = set()
    for one in tries if mine else ():
        here = where(one, mine)
        told |= {row.labels.get("host", "") for row in client.instant(_told(one, here), one.at)}
        for key, count in _of_try(client, one, here).items():
            if key[:2] in gpus:
                found[key] = (found.get(key) or 0) + count if count else found.get(key)
    known = [Xid(*key, count) for key, count in sorted(found.items())]
    return known, sorted({device.host for device in mine} - told)


def _of_try(client: Client, one: Try, here: str) -> dict[Key, int | None]:
    """Return the XIDs of a try on some nodes, with their number where a source counts them."""
    found: dict[Key, int | None] = {}
    for query, counted in _questions(one, here):
        for row in client.instant(query, one.end + _LATE):
            key = (row.labels.get("host", ""), row.labels.get("gpu", ""), row.labels.get("xid", ""))
            found.setdefault(key, round(row.value) if counted else None)
    return found


def _questions(one: Try, here: str) -> list[tuple[str, bool]]:
    """Return the queries, the best one first, and whether each counts XIDs."""
    window = f"{max(1, round(one.end - one.begin)) + _LATE + MINUTE}s"
    kernel, count, total = (f"{name}{{{here},{_ANY}}}" for name in (_KERNEL, _COUNT, _TOTAL))
    rise = f"max by ({_BY}) (max_over_time({kernel}[{window}]) - min_over_time({kernel}[{window}])) > 0"
    before = f"max by ({_BY}) ({total} offset {window})"
    counted = f"max by ({_BY}) (max_over_time({total}[{window}]))"
    # Of a window of minutes: what was in it already when the job began is of the one before.
    seen = f"max by ({_BY}) (max_over_time({count}[{window}])) > 0 unless on ({_BY}) ({count} offset {window} > 0)"
    return [(rise, True), (f"{counted} - ({before} or {counted} * 0) > 0", True), (seen, False)]


def _told(one: Try, here: str) -> str:
    log = f"max_over_time({_KERNEL_OK}{{{here}}}[{one.window}]) > 0"
    return f"group by (host) ({log} or count_over_time({_COUNT}{{{here}}}[{one.window}]))"
