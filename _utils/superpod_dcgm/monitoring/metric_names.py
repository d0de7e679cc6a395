"""
The two metric schemas of dcgm-exporter: names, units and how one becomes the other.

Schema 1 is that of the releases up to 4.8.x, schema 2 that from 4.9 on. Which one a release has stands in
compatibility.yaml (``metrics``); this table only translates. Where the names are from: docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from superpod_dcgm.base import paths

OLD, NEW = 1, 2
BOTH = (OLD, NEW)
_PREFIX = "DCGM_FI_"
# Names of one schema that a page must show at least before it counts as a page of this schema.
_ENOUGH = 2
# A job of that name may be a site's own; all targets of ours have a cluster.
OURS = f'job="{paths.SCRAPE_JOBS[0]}",cluster!=""'


@dataclass(frozen=True)
class Metric:
    """
    One metric in both schemas.

    ``old`` and ``new`` are its names; empty: there is none, or it is not known. A value of schema 1 times ``factor`` is
    one of schema 2, which is in base units: ``unit``. ``kind`` is what its values are, whatever the page calls them.
    ``early``: DCGM 4.6 (exporter 4.8.3, 4.8.4) takes the new name, too, so that it proves nothing.
    """

    old: str
    new: str
    unit: str = ""
    factor: float = 1
    kind: str = "gauge"
    early: bool = True


def _metric(old: str, new: str, unit: str = "", factor: float = 1, kind: str = "gauge", early: bool = True) -> Metric:
    old, new = (f"{_PREFIX}{name}" if name else "" for name in (old, new))
    return Metric(old, new, unit, factor, kind, early)


_MIB = 1048576
METRICS: dict[str, Metric] = {
    # The exporter's default counters.
    "sm_clock": _metric("DEV_SM_CLOCK", "DEV_SM_CLOCK_HERTZ", "hertz", 1e6),
    "memory_clock": _metric("DEV_MEM_CLOCK", "DEV_MEMORY_CLOCK_HERTZ", "hertz", 1e6),
    "memory_temperature": _metric("DEV_MEMORY_TEMP", "DEV_MEMORY_TEMP_CELSIUS", "celsius"),
    "gpu_temperature": _metric("DEV_GPU_TEMP", "DEV_GPU_TEMP_CELSIUS", "celsius"),
    "power": _metric("DEV_POWER_USAGE", "DEV_BOARD_POWER_WATTS", "watts"),
    "energy": _metric("DEV_TOTAL_ENERGY_CONSUMPTION", "DEV_GPU_ENERGY_JOULES_TOTAL", "joules", 0.001, "counter"),
    "pcie_replays": _metric("DEV_PCIE_REPLAY_COUNTER", "DEV_PCIE_REPLAY_TOTAL", kind="counter"),
    # In DCGM 4.6 the new name is there already, and means per cent.
    "gpu_utilization": _metric("DEV_GPU_UTIL", "DEV_GPU_UTIL_RATIO", "ratio", 0.01),
    "memory_copy_utilization": _metric("DEV_MEM_COPY_UTIL", "DEV_MEMORY_UTIL_RATIO", "ratio", 0.01, early=False),
    "encoder_utilization": _metric("DEV_ENC_UTIL", "DEV_ENC_UTIL_RATIO", "ratio", 0.01, early=False),
    "decoder_utilization": _metric("DEV_DEC_UTIL", "DEV_DEC_UTIL_RATIO", "ratio", 0.01, early=False),
    "xid": _metric("DEV_XID_ERRORS", "DEV_XID_ERROR"),
    "memory_free": _metric("DEV_FB_FREE", "DEV_FB_FREE_BYTES", "bytes", _MIB, early=False),
    "memory_used": _metric("DEV_FB_USED", "DEV_FB_USED_BYTES", "bytes", _MIB, early=False),
    "memory_reserved": _metric("DEV_FB_RESERVED", "DEV_FB_RESERVED_BYTES", "bytes", _MIB, early=False),
    "memory_capacity": _metric("", "DEV_FB_CAPACITY_BYTES", "bytes", early=False),
    # A rate that schema 1 declares a counter: KiB/s through 1000 there, times 1024 here. NVIDIA warns against deriving
    # one from the other.
    "nvlink_throughput": _metric(
        *("DEV_NVLINK_BANDWIDTH_TOTAL", "DEV_NVLINK_THROUGHPUT_BYTES_PER_SECOND"),
        *("bytes/s", 1_024_000),
        early=False,
    ),
    "vgpu_license": _metric("DEV_VGPU_LICENSE_STATUS", "DEV_VGPU_LICENSE_STATUS"),
    "rows_remapped_uncorrectable": _metric(
        "DEV_UNCORRECTABLE_REMAPPED_ROWS", "DEV_ROW_REMAP_UNCORRECTABLE_TOTAL", kind="counter"
    ),
    "rows_remapped_correctable": _metric(
        "DEV_CORRECTABLE_REMAPPED_ROWS", "DEV_ROW_REMAP_CORRECTABLE_TOTAL", kind="counter"
    ),
    "row_remap_failed": _metric("DEV_ROW_REMAP_FAILURE", "DEV_ROW_REMAP_FAILED"),
    "prof_engine": _metric("PROF_GR_ENGINE_ACTIVE", "PROF_GR_ENGINE_UTIL_RATIO", "ratio"),
    "prof_tensor": _metric("PROF_PIPE_TENSOR_ACTIVE", "PROF_TENSOR_UTIL_RATIO", "ratio"),
    "prof_dram": _metric("PROF_DRAM_ACTIVE", "PROF_DRAM_UTIL_RATIO", "ratio"),
    "prof_pcie_tx": _metric("PROF_PCIE_TX_BYTES", "PROF_PCIE_TX_BYTES", "bytes/s"),
    "prof_pcie_rx": _metric("PROF_PCIE_RX_BYTES", "PROF_PCIE_RX_BYTES", "bytes/s"),
    "driver_version": _metric("DRIVER_VERSION", "SYSTEM_DRIVER_VERSION", kind="label"),
    # Those of `exporter:counters: extended`.
    "ecc_single_bit": _metric("DEV_ECC_SBE_VOL_TOTAL", "DEV_ECC_SBE_VOL_TOTAL", kind="counter"),
    "ecc_double_bit": _metric("DEV_ECC_DBE_VOL_TOTAL", "DEV_ECC_DBE_VOL_TOTAL", kind="counter"),
    "ecc_double_bit_life": _metric("DEV_ECC_DBE_AGG_TOTAL", "DEV_ECC_DBE_AGG_TOTAL", kind="counter"),
    "page_retirement_pending": _metric("DEV_RETIRED_PENDING", "DEV_PAGE_RETIRED_PENDING"),
    "row_remap_pending": _metric("DEV_ROW_REMAP_PENDING", "DEV_ROW_REMAP_PENDING"),
    "sram_exceeded": _metric("DEV_THRESHOLD_SRM", "DEV_SRAM_EXCEEDED"),
    "memory_unrepairable": _metric("DEV_MEMORY_UNREPAIRABLE_FLAG", "DEV_MEMORY_UNREPAIRABLE"),
    "recovery_action": _metric("DEV_GET_GPU_RECOVERY_ACTION", "DEV_GPU_RECOVERY_ACTION"),
    # Seconds in schema 2, by names that are not known for sure: a wrong one would end the exporter.
    "power_throttled": _metric("DEV_POWER_VIOLATION", "", "seconds", 1e-9, "counter"),
    "thermal_throttled": _metric("DEV_THERMAL_VIOLATION", "", "seconds", 1e-9, "counter"),
    "software_thermal_throttled": _metric(
        "DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN_NS", "", "seconds", 1e-9, "counter"
    ),
    "hardware_thermal_throttled": _metric(
        "DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN_NS", "", "seconds", 1e-9, "counter"
    ),
    "power_brake_throttled": _metric(
        "DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN_NS", "", "seconds", 1e-9, "counter"
    ),
    "temperature_margin": _metric("DEV_GPU_TEMP_LIMIT", "DEV_GPU_TEMP_MARGIN_CELSIUS", "celsius"),
    "slowdown_temperature": _metric("DEV_SLOWDOWN_TEMP", "DEV_GPU_TEMP_SLOWDOWN_CELSIUS", "celsius"),
    "gpu_max_temperature": _metric("DEV_GPU_MAX_OP_TEMP", "DEV_GPU_MAX_OP_TEMP_CELSIUS", "celsius"),
    "memory_max_temperature": _metric("DEV_MEM_MAX_OP_TEMP", "DEV_MEMORY_MAX_OP_TEMP_CELSIUS", "celsius"),
    "power_limit": _metric("DEV_ENFORCED_POWER_LIMIT", "DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS", "watts"),
    "power_limit_set": _metric("DEV_POWER_MGMT_LIMIT", "DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS", "watts"),
    "nvlink_crc_flit": _metric(
        "DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", "DEV_NVLINK_CRC_FLIT_ERROR_TOTAL", kind="counter"
    ),
    "nvlink_crc_data": _metric(
        "DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL", "DEV_NVLINK_CRC_DATA_ERROR_TOTAL", kind="counter"
    ),
    "nvlink_replays": _metric("DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", "DEV_NVLINK_REPLAY_ERROR_TOTAL", kind="counter"),
    "nvlink_recoveries": _metric(
        "DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL", "DEV_NVLINK_RECOVERY_ERROR_TOTAL", kind="counter"
    ),
    "nvlink5_rx_errors": _metric("DEV_NVLINK_COUNT_RX_ERRORS", "DEV_NVLINK_RX_ERROR_TOTAL", kind="counter"),
    "nvlink5_tx_discards": _metric("DEV_NVLINK_COUNT_TX_DISCARDS", "DEV_NVLINK_TX_DISCARD_TOTAL", kind="counter"),
    "nvlink5_integrity_errors": _metric(
        "DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS", "DEV_NVLINK_INTEGRITY_ERROR_TOTAL", kind="counter"
    ),
    "nvlink5_recoveries": _metric(
        "DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS", "DEV_NVLINK_RECOVERY_EVENT_TOTAL", kind="counter"
    ),
    "nvlink5_recoveries_failed": _metric(
        "DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS", "DEV_NVLINK_RECOVERY_FAILED_TOTAL", kind="counter"
    ),
    "fabric_health": _metric("DEV_FABRIC_HEALTH_SUMMARY", "DEV_FABRIC_HEALTH_SUMMARY"),
}


def name(key: str, schema: int) -> str:
    """
    Return the metric's name in a schema; ``""``: it has none there, or none that is known.

    :raises KeyError: there is no such metric.
    """
    return METRICS[key].old if schema == OLD else METRICS[key].new


def renamed() -> dict[str, str]:
    """Return the names of schema 2 for those of schema 1 that differ; empty: another unit by a name not known."""
    return {one.old: one.new for one in METRICS.values() if one.old and one.old != one.new}


def promql(key: str, schemas: Collection[int] = BOTH, matchers: str = "", form: str = "{}") -> str:
    """
    Return a PromQL expression of the metric in base units, which has no metric name; for both schemas at once,
    whichever a node has. It is in brackets, unless it is a single name.

    :param matchers: ``host="dgx-01"``, without braces.
    :param form: what becomes of each name before the units are changed: ``increase({}[5m])``.
    :raises ValueError: none of the schemas has it.
    """
    factor, found = METRICS[key].factor, selectors(key, schemas, matchers)
    if not found:
        raise ValueError(f"{key} has no name in metric schema {', '.join(map(str, sorted(schemas)))}")
    # Arithmetic drops the name: without it the rows of one schema would keep theirs.
    parts = [form.format(text) + (_times(factor) if schema == OLD else " * 1") for schema, text in found.items()]
    return f"({' or '.join(parts)})"


def selectors(key: str, schemas: Collection[int] = BOTH, matchers: str = "") -> dict[int, str]:
    """Return what selects the metric's rows, by schema; one that has no name of its own is left out."""
    names = {name(key, schema): schema for schema in sorted(schemas, reverse=True)}
    return {schema: of_ours(found, matchers) for found, schema in reversed(names.items()) if found}


def of_ours(metric: str, matchers: str = "") -> str:
    """Return what selects the rows of our targets: exporters of others lack labels, and would all be one node."""
    return f"{metric}{{{','.join(filter(None, [OURS, matchers]))}}}"


def _times(factor: float) -> str:
    """Return the arithmetic of a factor, without rounding: by whole numbers."""
    return f" * {round(factor)}" if factor >= 1 else f" / {round(1 / factor)}"


@dataclass(frozen=True)
class Verdict:
    """
    Which schema a page shows: 1 or 2; 0 if it cannot be told, and then ``why`` says so in a sentence.

    ``scant``: it has too few names to tell, as a counters file of the site's own may ask for.
    """

    schema: int
    why: str = ""
    scant: bool = False


def judge(highest: Mapping[str, float]) -> Verdict:
    """
    Return which schema a /metrics page shows, by several names of it, never by one.

    :param highest: the highest value of each of its metrics (``base.exposition.highest``).
    """
    differ = [one for one in METRICS.values() if one.old != one.new and one.kind != "label"]
    old = sorted({one.old for one in differ} & highest.keys())
    new = sorted({one.new for one in differ if not one.early} & highest.keys())
    if old and new:
        return Verdict(0, f"it has names of both metric schemas: {', '.join(old[:3])} and {', '.join(new[:3])}")
    if max(len(old), len(new)) < _ENOUGH:
        found = ", ".join([*old, *new]) or "none"
        return Verdict(0, f"it has too few names by which a metric schema is known (found: {found})", True)
    percent = METRICS["gpu_utilization"].new
    if percent in highest and (old or highest[percent] > 1):
        return Verdict(0, f"{percent} stands for per cent in it (up to {highest[percent]:g}), as DCGM 4.6 has it")
    return Verdict(OLD if old else NEW)


def disagreement(highest: Mapping[str, float], schema: int) -> str:
    """
    Return in a sentence how a page differs from the schema that its release has; ``""`` where it fits, or tells too
    little.

    :param highest: as ``judge`` takes it.
    """
    verdict = judge(highest)
    if verdict.schema == schema or verdict.scant:
        return ""
    return verdict.why or f"it shows metric schema {verdict.schema}, and the release has {schema}"
