"""Alerts on XIDs, by NVIDIA's classes, from DCGM and from the kernel log: each knows some that the other does not."""

from __future__ import annotations

from superpod_dcgm.monitoring import metric_names, xids
from superpod_dcgm.monitoring.alert_parts import OF_GPU, Alert, first_or_more
from superpod_dcgm.monitoring.alert_site import GPU, KERNEL_LOG, XID_COUNT, XID_TOTAL, Missing, Site

# XIDs that a GPU had within the last minutes, as DCGM and as the kernel log tell them. Two records, since each takes
# half a second for a large fleet.
OF_DCGM, OF_KERNEL = "gpu_xid:superpod_dcgm_xids:recent", "gpu_xid:superpod_kernel_xids:recent"
_BY = f"{GPU}, xid"
# That the driver asks for nothing any more (154) is no event. Of a GPU whose number is not known the bus tells.
_KERNEL, _PARTS = "superpod_dcgm_kernel_xid_total", "UUID, pci_bus_id"
_MEANT = f'{_KERNEL}{{action!="none"}}'
# What it asks for then. Jobs go on without a drained link; what has to be reset or rebooted is of no use before.
_ACTION, _URGENT = f"{_BY}, action", 'xid="154",action=~"reset|reboot|drain_reset"'
# A GPU without XIDs has a row without this label.
_MATCH = 'xid!~"0?"'


def of_dcgm(site: Site) -> str:
    """
    Return the expression of ``OF_DCGM``.

    :raises Missing: exporters do not tell XIDs.
    """
    found = []
    if XID_COUNT in site.rows:
        # A gauge over a window: the row of an XID is there only as long.
        found.append(f"max by ({_BY}) ({metric_names.of_ours(XID_COUNT, _MATCH)}) > 0")
    if XID_TOTAL in site.rows:
        found.append(first_or_more(metric_names.of_ours(XID_TOTAL, _MATCH), _BY, metric_names.of_ours("up")))
    if not found:
        site.row(XID_COUNT)
    return " or ".join(found)


def of_kernel(site: Site) -> str:
    """
    Return the expression of ``OF_KERNEL``.

    :raises Missing: nodes do not tell XIDs.
    """
    site.own(_KERNEL)
    return first_or_more(_MEANT, _ACTION, KERNEL_LOG, _PARTS)


def _recent(site: Site, matcher: str) -> str:
    """
    Return 1 for each XID that a GPU had lately, whoever tells it.

    :raises Missing: neither exporters nor nodes tell XIDs.
    """
    found = [OF_DCGM] if {XID_COUNT, XID_TOTAL} & site.rows else []
    found += [OF_KERNEL] if site.own_metrics else []
    if not found:
        raise Missing(f"neither {XID_COUNT} is shown (exporter:counters: extended adds it) nor {_KERNEL}")
    return f"group by ({_BY}) ({' or '.join(f'{record}{{{matcher}}}' for record in found)})"


def _of(name: str) -> Alert:
    one = xids.CLASSES[name]

    def expression(site: Site) -> str:
        found = _recent(site, f'xid=~"{xids.pattern(name)}"')
        return f"{found} unless on ({GPU}) {_urgent(site)}" if name == "recovery" and site.own_metrics else found

    return Alert(
        *(one.alert, one.severity, expression),
        summary=f"A GPU had an XID: {one.what}.",
        description=f"{OF_GPU} had XID {{{{ $labels.xid }}}}: {one.what}.",
        # Some of them take the GPU's rows, or the node, away.
        keep="30m" if one.severity == "critical" else "",
    )


def _urgent(site: Site) -> str:
    if not site.own_metrics:
        raise Missing("only the kernel log tells what XID 154 asks for, and nothing of ours is scraped")
    return f"{OF_KERNEL}{{{_URGENT}}}"


def _other(site: Site) -> str:
    return _recent(site, f'xid!~"{xids.pattern(*xids.CLASSES)}"')


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
