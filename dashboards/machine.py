"""Panels of the machine around GPUs, for sites whose node_exporter has our labels: no numbers of ours."""

from __future__ import annotations

from dashboards import units
from dashboards.parts import THIRD, Query, lines
from dashboards.queries import NODE, few, ratio, rows

_RATE = "$__rate_interval"


def _rate(counter: str, matchers: str = NODE) -> str:
    return f"rate({rows(counter, matchers)}[{_RATE}])"


_NET = f'{NODE},device!~"lo|veth.*|docker.*|cni.*"'
_DISK = f'{NODE},device!~"loop.*|ram.*|dm-.*"'
_DISKS = " + ".join(_rate(f"node_disk_{way}_bytes_total", _DISK) for way in ("read", "written"))
_MOUNTS = f'{NODE},fstype!~"tmpfs|overlay|squashfs|ramfs|nsfs"'
_BUSY = _rate("node_cpu_seconds_total", f'{NODE},mode!~"idle|iowait|steal"')
_FREE, _SIZE = rows("node_filesystem_avail_bytes", _MOUNTS), rows("node_filesystem_size_bytes", _MOUNTS)
_MOUNTED = f"max by (mountpoint) (1 - {ratio(_FREE, _SIZE)})"
_AVAILABLE, _TOTAL = rows("node_memory_MemAvailable_bytes", NODE), rows("node_memory_MemTotal_bytes", NODE)


def _by(label: str, expression: str) -> Query:
    each = f"sum by ({label}) ({expression})"
    return Query(few(each, f"sum({expression})"), f"{{{{{label}}}}}")


PANELS = [
    lines(
        *("Processors", units.RATIO),
        Query(ratio(f"sum({_BUSY})", f"sum({_rate('node_cpu_seconds_total')})"), "busy"),
        width=THIRD,
    ),
    lines("Memory in use", units.RATIO, Query(f"1 - {ratio(_AVAILABLE, _TOTAL)}", "in use"), width=THIRD),
    lines("File systems in use", units.RATIO, Query(few(_MOUNTED, f"max({_MOUNTED})"), "{{mountpoint}}"), width=THIRD),
    lines("Network, received", units.RATE, _by("device", _rate("node_network_receive_bytes_total", _NET)), width=THIRD),
    lines("Network, sent", units.RATE, _by("device", _rate("node_network_transmit_bytes_total", _NET)), width=THIRD),
    lines("Disks, read and written", units.RATE, _by("device", _DISKS), width=THIRD),
    lines(
        *("InfiniBand, received", units.RATE),
        _by("device", _rate("node_infiniband_port_data_received_bytes_total")),
        width=THIRD,
    ),
    lines(
        *("InfiniBand, sent", units.RATE),
        _by("device", _rate("node_infiniband_port_data_transmitted_bytes_total")),
        width=THIRD,
    ),
    lines(
        *("InfiniBand links that went down", units.COUNT),
        _by("device", f"increase({rows('node_infiniband_link_downed_total', NODE)}[{_RATE}])"),
        width=THIRD,
    ),
]
