"""Alerts on XIDs, by NVIDIA's classes, from DCGM and from the kernel log: each knows some that the other does not."""

from __future__ import annotations

from superpod_dcgm.monitoring import metric_names, xids
from superpod_dcgm.monitoring.alert_parts import OF_GPU, Alert, first_or_more
from superpod_dcgm.monitoring.alert_site import EXPORTER, GPU, KERNEL_LOG, XID_COUNT, XID_TOTAL, Missing, Site

# 1 for each XID that a GPU had within the last minutes.
RECENT = "gpu_xid:superpod_xids:recent"
_BY = f"{GPU}, xid"
# That the driver asks for nothing any more (154) is no event. Of a GPU whose number is not known the bus tells.
_KERNEL, _PARTS = 'superpod_dcgm_kernel_xid_total{action!="none"}', "UUID, pci_bus_id"
# What it asks for then. Jobs go on without a drained link; what has to be reset or rebooted is of no use before.
_ACTION, _URGENT = f"{_BY}, action", 'action=~"reset|reboot|drain_reset"'
# A GPU without XIDs has a row without this label.
_MATCH = 'xid!~"0?"'


def recent(site: Site) -> str:
    """
    Return the expression of ``RECENT``.

    :raises Missing: neither exporters nor nodes tell XIDs.
    """
    found = []
    if XID_COUNT in site.rows:
        # A gauge over a window: the row of an XID is there only as long.
        found.append(f"max by ({_BY}) ({metric_names.of_ours(XID_COUNT, _MATCH)}) > 0")
    if XID_TOTAL in site.rows:
        found.append(first_or_more(metric_names.of_ours(XID_TOTAL, _MATCH), _BY, f'up{{job="{EXPORTER}"}}'))
    if site.own_metrics:
        found.append(first_or_more(_KERNEL, _ACTION, KERNEL_LOG, _PARTS))
    if not found:
        raise Missing(
            f"neither {XID_COUNT} is shown (exporter:counters: extended adds it) nor {_KERNEL.partition('{')[0]}"
        )
    return f"group by ({_ACTION}) ({' or '.join(found)})"


def _of(name: str) -> Alert:
    one = xids.CLASSES[name]

    def expression(site: Site) -> str:
        recent(site)
        return f'{RECENT}{{xid=~"{xids.pattern(name)}"}}'

    return Alert(
        *(one.alert, one.severity, _recovery if name == "recovery" else expression),
        summary=f"A GPU had an XID: {one.what}.",
        description=f"{OF_GPU} had XID {{{{ $labels.xid }}}}: {one.what}.",
        # Some of them take the GPU's rows, or the node, away.
        keep="30m" if one.severity == "critical" else "",
    )


def _recovery(site: Site) -> str:
    recent(site)
    what = f'xid=~"{xids.pattern("recovery")}"'
    return f"group by ({_BY}) ({RECENT}{{{what}}}) unless on ({GPU}) {RECENT}{{{what},{_URGENT}}}"


def _urgent(site: Site) -> str:
    if not site.own_metrics:
        raise Missing("only the kernel log tells what XID 154 asks for, and metrics:enabled is false")
    return f"""{RECENT}{{xid=~"{xids.pattern("recovery")}",{_URGENT}}}"""


def _other(site: Site) -> str:
    recent(site)
    return f'{RECENT}{{xid!~"{xids.pattern(*xids.CLASSES)}"}}'


def _unread(site: Site) -> str:
    return f"{site.own(KERNEL_LOG)} == 0"


ALERTS = (
    *(_of(name) for name, one in xids.CLASSES.items() if one.alert),
    Alert(
        *("SuperpodGpuXidRecoveryUrgent", "critical", _urgent),
        summary="The driver asks for a reset or a reboot to recover a GPU.",
        description=f"{OF_GPU} had XID {{{{ $labels.xid }}}}: the driver asks for: {{{{ $labels.action }}}}.",
        keep="30m",
    ),
    Alert(
        *("SuperpodGpuXidOther", "warning", _other),
        summary="A GPU had an XID that is in none of the known classes.",
        description=f"{OF_GPU} had XID {{{{ $labels.xid }}}}.",
    ),
    Alert(
        *("SuperpodKernelLogUnread", "warning", _unread),
        summary="A node cannot read its kernel log, so XIDs that DCGM does not tell are missed.",
        description="{{ $labels.host }} ({{ $labels.cluster }}) cannot read its kernel log.",
        hold="15m",
    ),
)
