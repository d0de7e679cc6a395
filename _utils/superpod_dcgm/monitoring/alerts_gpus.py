"""Alerts on GPUs: memory, heat, power, links."""

from __future__ import annotations

from collections.abc import Callable

from superpod_dcgm.monitoring.alert_parts import OF_GPU, OF_NODE, Alert, first_or_more, gpu_growth, gpu_rose
from superpod_dcgm.monitoring.alert_site import CLOCK_EVENTS, GPU, KERNEL_LOG, NODE, Missing, Site

_MINUTES = 10
# nvml.h: 1 reset, 2 reboot of the node, 4 drain and reset. 3, draining NVLink, and what is not known is less.
_URGENT = ("== 1", "== 2", "== 4")
# Single-bit errors of the last minutes, by GPU.
SINGLE_BIT = "gpu:superpod_single_bit_errors:rise10m"
_RECOVERIES = ("nvlink_replays", "nvlink_recoveries", "nvlink5_recoveries", "nvlink5_integrity_errors")
_CRC = ("nvlink_crc_flit", "nvlink_crc_data", "nvlink5_rx_errors")
# Counters of links by the record that has those GPUs on which there are more errors than on a healthy one. One rule
# that reads them all takes seconds for a large fleet.
NVLINK = {f"gpu:superpod_{key}:high": key for key in (*_RECOVERIES, *_CRC)}


def _either(site: Site, keys: tuple[str, ...], form: Callable[[Site, str], str]) -> str:
    """Return what one of several metrics tells; those that the site does not show are left out."""
    found = [form(site, key) for key in keys if key in site.rows]
    if not found:
        site.row(keys[0])
    return " or ".join(found)


def _set(site: Site, key: str) -> str:
    return f"{site.row(key)} > 0"


def _rises(key: str) -> Callable[[Site], str]:
    return lambda site: gpu_rose(site, key)


def _is_set(*keys: str) -> Callable[[Site], str]:
    return lambda site: _either(site, keys, _set)


def _recovery(*actions: str) -> Callable[[Site], str]:
    return lambda site: " or ".join(f"{site.row('recovery_action')} {action}" for action in actions)


def _slowed(event: str) -> Callable[[Site], str]:
    return lambda site: f"{site.row(CLOCK_EVENTS, matchers=_event(event))} > 0"


def _event(name: str) -> str:
    return f'clock_event="{name}"'


def _slowdown(site: Site) -> str:
    known = site.row(CLOCK_EVENTS, matchers='clock_event=~"hw_thermal|hw_power_brake"')
    return f"{_slowed('hw_slowdown')(site)} unless on ({GPU}) ({known} > 0)"


def single_bit(site: Site) -> str:
    """
    Return the expression of ``SINGLE_BIT``.

    :raises Missing: the counter is not shown.
    """
    return f"{gpu_growth(site, 'ecc_single_bit')} > 0"


def _storm(site: Site) -> str:
    single_bit(site)
    # By far the most of its node: a whole node with many is another fault.
    most = f"{SINGLE_BIT} > on ({NODE}) group_left () (0.9 * sum by ({NODE}) ({SINGLE_BIT}))"
    return f"({most}) >= {site.thresholds['single_bit']}"


def left(site: Site) -> str:
    """
    Return how many degrees are left until a GPU slows down, by what it tells itself; by configured limits at last.

    :raises Missing: no temperature is shown.
    """
    heat = "gpu_temperature"
    found = [site.row("temperature_margin")] if "temperature_margin" in site.rows else []
    if heat in site.rows:
        limits = ("slowdown_temperature", "gpu_max_temperature")
        found += [f"({site.row(key)} > 0) - {site.row(heat)}" for key in limits if key in site.rows]
        # The configured one is where the warning begins.
        found.append(f"{site.thresholds['gpu_temperature'] + site.thresholds['margin']} - {site.row(heat)}")
    if not found:
        site.row(heat)
    return f"({' or '.join(found)})"


def _hot(site: Site) -> str:
    return f"{left(site)} <= {site.thresholds['margin']}"


def _overheated(site: Site) -> str:
    return f"{left(site)} <= 0"


def _memory_hot(site: Site) -> str:
    heat, limit = site.row("memory_temperature"), site.thresholds["memory_temperature"]
    if "memory_max_temperature" not in site.rows:
        return f"{heat} >= {limit}"
    most = f"({site.row('memory_max_temperature')} > 0)"
    return f"{heat} >= on ({GPU}) {most} or ({heat} >= {limit} unless on ({GPU}) {most})"


def nvlink(site: Site, record: str) -> str:
    """
    Return the expression of a record of ``NVLINK``: errors a minute, or a second.

    :raises Missing: its counter is not shown.
    """
    key = NVLINK[record]
    often = key in _RECOVERIES
    limit = site.thresholds["nvlink_recoveries" if often else "nvlink_crc"]
    return f"{gpu_growth(site, key)} / {_MINUTES if often else 60 * _MINUTES} >= {limit}"


def _nvlink(site: Site) -> str:
    found = [record for record, key in NVLINK.items() if key in site.rows]
    if not found:
        raise Missing("the exporters show no counter of NVLink errors: exporter:counters: extended adds them")
    return " or ".join(found)


def _fatal_switch(site: Site) -> str:
    counter = "superpod_dcgm_kernel_sxid_total"
    site.own(counter)
    return first_or_more(f'{counter}{{severity="fatal"}}', f"{NODE}, nvswitch, sxid", KERNEL_LOG)


ALERTS = (
    Alert(
        *("SuperpodGpuDoubleBitError", "critical", _rises("ecc_double_bit")),
        summary="A GPU had a double-bit error in its memory.",
        description=f"{OF_GPU} had double-bit ECC errors lately; {{{{ $value }}}} since the driver was loaded.",
        keep="30m",
    ),
    Alert(
        *("SuperpodGpuSingleBitErrors", "warning", _storm),
        summary="One GPU corrects very many errors of its memory.",
        description=f"{OF_GPU} corrected {{{{ $value }}}} errors in {_MINUTES} minutes, its neighbours hardly any.",
    ),
    Alert(
        *("SuperpodGpuRowRemapped", "warning", _rises("rows_remapped_uncorrectable")),
        summary="A GPU replaced a row of its memory after an error that could not be corrected.",
        description=f"{OF_GPU} remapped a row lately; {{{{ $value }}}} in its life.",
    ),
    Alert(
        *("SuperpodGpuRemapFailed", "critical", _is_set("row_remap_failed")),
        summary="A GPU could not replace a bad row of its memory.",
        description=f"{OF_GPU} has no spare row left where it needs one.",
        hold="2m",
    ),
    Alert(
        *("SuperpodGpuRemapPending", "warning", _is_set("row_remap_pending", "page_retirement_pending")),
        summary="A GPU has to be reset to replace a bad row or page of its memory.",
        description=f"{OF_GPU} waits for a reset.",
        hold="15m",
    ),
    Alert(
        *("SuperpodGpuMemoryBad", "critical", _is_set("memory_unrepairable", "sram_exceeded")),
        summary="The memory of a GPU cannot be repaired, or has more errors than it may have.",
        description=f"{OF_GPU} has bad memory.",
        hold="2m",
    ),
    Alert(
        *("SuperpodGpuRecoveryUrgent", "critical", _recovery(*_URGENT)),
        summary="The driver asks for a reset or a reboot to recover a GPU.",
        description=f"{OF_GPU} asks for recovery action {{{{ $value }}}}.",
        hold="5m",
    ),
    Alert(
        *("SuperpodGpuRecoveryWanted", "warning", _recovery("== 3", "> 4")),
        summary="The driver asks for something less than a reset to recover a GPU.",
        description=f"{OF_GPU} asks for recovery action {{{{ $value }}}}.",
        hold="5m",
    ),
    Alert(
        *("SuperpodGpuHot", "warning", _hot),
        summary="A GPU is close to the temperature at which it slows down.",
        description=f"{OF_GPU} has {{{{ $value }}}} °C left.",
        hold="5m",
    ),
    Alert(
        *("SuperpodGpuOverheated", "critical", _overheated),
        summary="A GPU has reached the temperature at which it slows down.",
        description=f"{OF_GPU} is {{{{ $value }}}} °C below its limit.",
        hold="1m",
    ),
    Alert(
        *("SuperpodGpuMemoryHot", "warning", _memory_hot),
        summary="The memory of a GPU is hotter than it may be.",
        description=f"The memory of {OF_GPU} has {{{{ $value }}}} °C.",
        hold="5m",
    ),
    Alert(
        *("SuperpodGpuThermalSlowdown", "critical", _slowed("hw_thermal")),
        summary="A GPU slows itself down because it is too hot.",
        description=f"{OF_GPU} was slowed down by its hardware because of heat.",
        hold="1m",
    ),
    Alert(
        *("SuperpodGpuThermalSoftware", "warning", _slowed("sw_thermal")),
        summary="The driver slows a GPU down because it is too hot.",
        description=f"{OF_GPU} is slowed down by its driver because of heat.",
        hold="15m",
    ),
    Alert(
        *("SuperpodGpuPowerBrake", "critical", _slowed("hw_power_brake")),
        summary="The machine slows a GPU down by its power brake.",
        description=f"{OF_GPU} was slowed down by the power brake of its machine.",
        hold="1m",
    ),
    Alert(
        *("SuperpodGpuSlowdown", "warning", _slowdown),
        summary="A GPU is slowed down by its hardware, and neither heat nor power brake is the reason.",
        description=f"{OF_GPU} is slowed down by its hardware.",
        hold="5m",
    ),
    Alert(
        *("SuperpodNvlinkErrors", "warning", _nvlink),
        summary="An NVLink of a GPU has more errors than a healthy one.",
        description=f"NVLinks of {OF_GPU} have {{{{ $value | humanize }}}} errors a minute, or CRC errors a second.",
    ),
    Alert(
        *("SuperpodNvlinkDown", "critical", _rises("nvlink5_recoveries_failed")),
        summary="An NVLink did not recover and is down.",
        description=f"An NVLink of {OF_GPU} is down.",
        keep="30m",
    ),
    Alert(
        *("SuperpodFabricUnhealthy", "warning", lambda site: f"{site.row('fabric_health')} >= 2"),
        summary="The NVLink fabric is not healthy for a GPU.",
        description=f"The fabric of {OF_GPU} is unhealthy (2) or limited (3): {{{{ $value }}}}.",
        hold="5m",
    ),
    Alert(
        *("SuperpodNvswitchFatal", "critical", _fatal_switch),
        summary="An NVSwitch had a fatal error.",
        description=f"NVSwitch {{{{ $labels.nvswitch }}}} of {OF_NODE} had SXid {{{{ $labels.sxid }}}}.",
        keep="30m",
    ),
)
