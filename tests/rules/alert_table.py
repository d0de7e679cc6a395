"""Every alert with what makes it fire: rows for the cases that most have, and cases of single ones."""

from __future__ import annotations

from alert_cases import CLUSTER, EXPORTER, GPU, NODE, OWN, Case, Event, Series, State

_TEMP, _UTIL, _PROF = "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
_POWER, _MARGIN = "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_TEMP_LIMIT"
_SLOWDOWN, _MOST = "DCGM_FI_DEV_SLOWDOWN_TEMP", "DCGM_FI_DEV_GPU_MAX_OP_TEMP"
_CLOCKS, _COUNT, _TOTAL = "DCGM_EXP_CLOCK_EVENTS_COUNT", "DCGM_EXP_XID_ERRORS_COUNT", "DCGM_EXP_XID_ERRORS_TOTAL"
_KERNEL, _INFO = "superpod_dcgm_kernel_xid_total", "slurm_gpu_job_info"
_LOG = ("superpod_dcgm_kernel_log_ok", OWN)
_TABLE = ("dcgm_job_map_device_table_ok", OWN)
JOB = {"hpc_job": "4711", "user": "ada", "account": "ml", "partition": "batch"}
_OTHER = {"hpc_job": "4712", "user": "bob", "account": "ml", "partition": "batch"}
# An XID of each class that raises an alert; the last is in none.
XIDS = {
    "SuperpodGpuXidApplication": ("13", "info", 0),
    "SuperpodGpuXidMemory": ("94", "warning", 0),
    "SuperpodGpuXidReset": ("119", "critical", 30),
    "SuperpodGpuXidReboot": ("79", "critical", 30),
    "SuperpodGpuXidHands": ("54", "critical", 30),
    "SuperpodGpuXidSupport": ("92", "warning", 0),
    "SuperpodGpuXidNvlink": ("74", "critical", 30),
    "SuperpodGpuXidFabric": ("149", "warning", 0),
    "SuperpodGpuXidRecovery": ("154", "warning", 0),
    "SuperpodGpuXidOther": ("165", "warning", 0),
}


def _clock(alert: str, severity: str, event: str, hold: float) -> State:
    # The power cap is normal at full load.
    cap = ((_CLOCKS, {"clock_event": "power_cap"}, 10.0),)
    return State(alert, severity, _CLOCKS, None, 5, hold, {"clock_event": event}, steady=cap)


def _own(alert: str, severity: str, metric: str, good: float, bad: float, hold: float) -> State:
    freed = (("superpod_dcgm_gpus_freed", OWN, 0.0),)
    return State(alert, severity, metric, good, bad, hold, OWN, NODE, freed, "host")


_HEAD = {"job": "superpod-dcgm-head", "host": "bcm-01"}
_WANTED = ("superpod_dcgm_head_info", {**_HEAD, "release": "4.5.3-4.8.2"}, 1.0)
_IDLE = ((_UTIL, {}, 0.0), (_POWER, {}, 90.0), (_INFO, {**OWN, **JOB}, 1.0))
_USED = ((_PROF, {}, 0.0), *_IDLE[1:])
_WHO = tuple(JOB)
_ACTION = "DCGM_FI_DEV_GET_GPU_RECOVERY_ACTION"
_RESET, _LESS = "SuperpodGpuRecoveryUrgent", "SuperpodGpuRecoveryWanted"
STATES = (
    State("SuperpodExporterDown", "warning", "up", 1, 0, 5, EXPORTER, NODE, (), "host"),
    State("SuperpodNoExporters", "critical", "up", 1, None, 15, {**EXPORTER, "host": "x"}, CLUSTER, (), "", gap=10),
    State(
        *("SuperpodHeadMetricsDown", "warning", "up", 1, 0, 10, {"job": "superpod-dcgm-head"}, NODE, (), "host"),
    ),
    State(
        *("SuperpodNodesWithoutTarget", "warning", "superpod_dcgm_nodes_with_target", 2, 1, 30),
        *({**_HEAD, "kind": "dcgm-exporter"}, CLUSTER),
        steady=(
            ("superpod_dcgm_nodes_wanted", _HEAD, 2.0),
            ("superpod_dcgm_nodes_with_target", {**_HEAD, "kind": "superpod-dcgm"}, 2.0),
        ),
        neighbour="",
    ),
    State(
        *("SuperpodExporterSlow", "warning", "scrape_duration_seconds", 1, 12, 15),
        *(EXPORTER, NODE, (("up", EXPORTER, 1.0),), "host"),
    ),
    State("SuperpodNodeMetricsDown", "warning", "up", 1, 0, 10, OWN, NODE, (("up", EXPORTER, 1.0),), "host"),
    State(
        *("SuperpodGpuMissing", "critical", _TEMP, 40, None, 5, {"gpu": "7"}, NODE),
        *(((_TEMP, {"gpu": "0"}, 40.0), ("up", EXPORTER, 1.0)), "host"),
        at_once=False,
    ),
    State(
        *("SuperpodGpuMissing", "critical", _TEMP, 40, None, 5, {"gpu": "7"}, NODE),
        *(((_TEMP, {"gpu": "0"}, 40.0), ("up", EXPORTER, 1.0)), ""),
        site="two GPUs",
    ),
    State(
        *("SuperpodReleaseDiffers", "info", "superpod_dcgm_info", None, 1, 60),
        *({**OWN, "release": "4.4.2-4.7.1", "method": "build"}, NODE),
        *((("superpod_dcgm_info", {**OWN, "release": "4.5.3-4.8.2"}, 1.0), _WANTED), "host", ("release", "method")),
    ),
    State(
        *("SuperpodReleaseDiffers", "info", "superpod_dcgm_info", None, 1, 60),
        *({**OWN, "release": "4.4.2-4.7.1", "method": "build"}, NODE),
        *((("superpod_dcgm_info", {**OWN, "release": "4.5.3-4.8.2"}, 1.0),), "host", ("release", "method")),
        site="no watcher",
    ),
    State(
        *("SuperpodExporterCertificateExpires", "warning"),
        *("superpod_dcgm_exporter_certificate_expiry_timestamp_seconds", 1_300_000, 1_200_000, 15, OWN, NODE),
        neighbour="host",
        site="TLS",
    ),
    _own("SuperpodKernelLogUnread", "warning", "superpod_dcgm_kernel_log_ok", 1, 0, 15),
    *(
        State(
            *(name, severity, _COUNT, None, 3, 0, {"xid": xid}, GPU),
            *(((_COUNT, {}, 0.0),), "gpu", ("xid",)),
            keep=keep,
        )
        for name, (xid, severity, keep) in XIDS.items()
    ),
    State("SuperpodGpuRemapFailed", "critical", "DCGM_FI_DEV_ROW_REMAP_FAILURE", 0, 1, 2),
    State("SuperpodGpuRemapFailed", "critical", "DCGM_FI_DEV_ROW_REMAP_FAILURE", 0, 1, 2, site="default"),
    State("SuperpodGpuRemapPending", "warning", "DCGM_FI_DEV_ROW_REMAP_PENDING", 0, 1, 15),
    State("SuperpodGpuRemapPending", "warning", "DCGM_FI_DEV_RETIRED_PENDING", 0, 1, 15),
    State("SuperpodGpuMemoryBad", "critical", "DCGM_FI_DEV_MEMORY_UNREPAIRABLE_FLAG", 0, 1, 2),
    State("SuperpodGpuMemoryBad", "critical", "DCGM_FI_DEV_THRESHOLD_SRM", 0, 1, 2),
    State("SuperpodGpuRecoveryUrgent", "critical", _ACTION, 0, 1, 5),
    State("SuperpodGpuRecoveryWanted", "warning", _ACTION, 0, 3, 5),
    State("SuperpodGpuHot", "warning", _MARGIN, 30, 5, 5),
    State("SuperpodGpuHot", "warning", _TEMP, 60, 84, 5, steady=((_SLOWDOWN, {}, 89.0),)),
    State("SuperpodGpuHot", "warning", _TEMP, 60, 80, 5, steady=((_MOST, {}, 85.0),)),
    State("SuperpodGpuHot", "warning", _TEMP, 86, 87, 5, site="default"),
    State("SuperpodGpuOverheated", "critical", _MARGIN, 1, 0, 1),
    State("SuperpodGpuOverheated", "critical", _TEMP, 88, 89, 1, steady=((_SLOWDOWN, {}, 89.0),)),
    State("SuperpodGpuOverheated", "critical", _TEMP, 91, 92, 1, site="default"),
    State("SuperpodGpuMemoryHot", "warning", "DCGM_FI_DEV_MEMORY_TEMP", 94, 95, 5, site="default"),
    State(
        *("SuperpodGpuMemoryHot", "warning", "DCGM_FI_DEV_MEMORY_TEMP", 84, 85, 5),
        steady=(("DCGM_FI_DEV_MEM_MAX_OP_TEMP", {}, 85.0),),
    ),
    _clock("SuperpodGpuThermalSlowdown", "critical", "hw_thermal", 1),
    _clock("SuperpodGpuThermalSoftware", "warning", "sw_thermal", 15),
    _clock("SuperpodGpuPowerBrake", "critical", "hw_power_brake", 1),
    _clock("SuperpodGpuSlowdown", "warning", "hw_slowdown", 5),
    State("SuperpodFabricUnhealthy", "warning", "DCGM_FI_DEV_FABRIC_HEALTH_SUMMARY", 1, 3, 5),
    State("SuperpodGpuProfilingDead", "warning", _PROF, 0.4, 0, 15, steady=((_UTIL, {}, 97.0),)),
    State("SuperpodGpuProfilingMissing", "warning", _PROF, 0.4, None, 60, steady=((_TEMP, {}, 40.0),)),
    State("SuperpodGpuIdle", "info", _PROF, 0.5, 0.004, 60, JOB, steady=_IDLE, shown=_WHO),
    State("SuperpodGpuIdle", "info", _UTIL, 50, 0.4, 60, JOB, steady=_USED, shown=_WHO),
    State("SuperpodGpuIdle", "info", _PROF, 0.5, 0.0, 60, JOB, shown=("hpc_job",), site="labels"),
    State("SuperpodGpuIdle", "info", _UTIL, 50, 0.4, 60, JOB, shown=("hpc_job",), site="labels"),
    _own("SuperpodDeviceTableOld", "warning", "dcgm_job_map_device_table_ok", 1, 0, 15),
    _own("SuperpodDeviceTableGuessed", "warning", "dcgm_job_map_device_table_guessed", 0, 1, 30),
    _own("SuperpodDeviceTablePending", "info", "dcgm_job_map_device_table_pending", 0, 1, 60),
)
_FAILURE = {**OWN, "script": "prolog", "reason": "lock"}
_SWITCH = {**OWN, "severity": "fatal", "nvswitch": "0", "sxid": "20034"}
_RECOVERY = "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL"
EVENTS = (
    *(
        Event(
            *(name, severity, _KERNEL, {**OWN, "xid": xid}, GPU, ("xid",), sparse, _LOG, keep),
            brief=name != "SuperpodGpuXidReboot",
        )
        for name, (xid, severity, keep) in XIDS.items()
        for sparse in ((False, True) if name == "SuperpodGpuXidReboot" else (False,))
    ),
    Event(
        *("SuperpodGpuXidRecoveryUrgent", "critical", _KERNEL, {**OWN, "xid": "154", "action": "reset"}, GPU),
        *(("xid", "action"), True, _LOG, 30),
    ),
    Event("SuperpodGpuXidReboot", "critical", _TOTAL, {"xid": "79"}, GPU, ("xid",), sparse=True, keep=30),
    Event("SuperpodGpuDoubleBitError", "critical", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", keep=30),
    Event(
        "SuperpodGpuSingleBitErrors", "warning", "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", rise=1000, gap_tells=False, rate=True
    ),
    Event("SuperpodGpuRowRemapped", "warning", "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", site="default"),
    Event("SuperpodNvlinkErrors", "warning", _RECOVERY, rise=10, gap_tells=False, rate=True),
    Event(
        *("SuperpodNvlinkErrors", "warning", "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL"),
        rise=60000,
        gap_tells=False,
        rate=True,
    ),
    Event(
        *("SuperpodNvlinkDown", "critical", "DCGM_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS"),
        keep=30,
    ),
    *(
        Event(
            *("SuperpodNvswitchFatal", "critical", "superpod_dcgm_kernel_sxid_total", _SWITCH, NODE),
            *(("nvswitch", "sxid"), sparse, _LOG, 30),
        )
        for sparse in (False, True)
    ),
    *(
        Event(
            *("SuperpodPrologFailures", "warning", "dcgm_job_map_failures_total", _FAILURE, NODE),
            *(("script", "reason"), sparse, _TABLE),
            gap_tells=False,
        )
        for sparse in (False, True)
    ),
)


def _flat(name: str, labels: dict[str, str], value: float | None, minutes: float = 100) -> Series:
    return Series(name, {**EXPORTER, **labels}, ((value, minutes),))


_MIG = {**GPU, "GPU_I_ID": "7", "GPU_I_PROFILE": "1g.10gb"}
_FREED = Series("superpod_dcgm_gpus_freed", {**OWN, **NODE}, ((1, 100),))
_HOLDS = _flat(_INFO, {**GPU, **OWN, **JOB}, 1)
_RECONCILED, _TARGETS = "dcgm_job_map_reconcile_timestamp_seconds", "superpod_dcgm_targets_timestamp_seconds"


def _ages(alert: str, metric: str, labels: dict[str, str], limit: float) -> tuple[Case, ...]:
    """Return cases of a time stamp that must not be older than ``limit`` minutes; the alert waits 5 more."""

    def stamps(*parts: tuple[float | str | None, float]) -> Series:
        return Series(metric, {**NODE, **labels}, parts)

    fresh, late = Series(metric, {**NODE, **labels, "host": "b"}, (("0+30", 160),)), 20 + limit + 5
    return (
        Case(
            *(alert, "fires when it is too old, and recovers"),
            *((stamps(("0+30", 20), (1170, 60), ("4800+30", 30)), fresh),),
            *({19: (), late - 1.5: (), late + 2: (NODE,), 79: (NODE,), 82: ()}, "warning"),
        ),
        Case(
            *(alert, "is not told by a restart of Prometheus"),
            *((stamps(("0+30", 20), (None, 40), ("3600+30", 30)),), {61: (), 80: ()}, "warning"),
        ),
        Case(
            *(alert, "is told again after a restart of Prometheus"),
            *((stamps((60, 50), (None, 18), (60, 30)),), {49: (NODE,), 76: (NODE,)}, "warning"),
        ),
        Case(alert, "does not fire while it is fresh", (fresh,), {10: (), 90: ()}, "warning"),
    )


SINGLE = (
    *_ages("SuperpodJobMapStale", _RECONCILED, OWN, 30),
    *_ages("SuperpodTargetFilesOld", _TARGETS, {"job": "superpod-dcgm-head"}, 15),
    Case(
        *("SuperpodNoExporters", "leaves a cluster alone where no node should have an exporter"),
        *((Series("superpod_dcgm_nodes_wanted", {**NODE, **_HEAD}, ((0, 60),)),), {59: ()}, "critical"),
    ),
    Case(
        *("SuperpodExporterDown", "leaves nodes alone whose GPUs are free for maintenance"),
        *((_flat("up", NODE, 0), _FREED), {90: ()}, "warning"),
    ),
    Case(
        *("SuperpodNodeMetricsDown", "leaves it to the exporter's alert where the whole node is down"),
        *((_flat("up", {**NODE, **OWN}, 0), _flat("up", NODE, 0)), {90: ()}, "warning"),
    ),
    Case(
        *("SuperpodGpuMissing", "fires where the whole page is empty, and the node answers"),
        (Series(_TEMP, {**EXPORTER, **GPU}, ((40, 20), (None, 30))), _flat("up", NODE, 1)),
        *({19: (), 32: (NODE,)}, "critical"),
    ),
    Case(
        *("SuperpodGpuMissing", "counts instances of one GPU once, and jobs on it"),
        (
            *(
                _flat(_TEMP, {**GPU, "GPU_I_ID": instance, "hpc_job": job}, 40, 30)
                for instance, job in (("1", "7"), ("1", "8"), ("2", "9"))
            ),
            *(_flat(_TEMP, GPU, 40), _flat("up", NODE, 1)),
        ),
        *({25: ()}, "critical"),
    ),
    Case(
        *("SuperpodGpuMissing", "leaves a node alone that cannot be scraped: another alert tells"),
        (Series(_TEMP, {**EXPORTER, **GPU}, ((40, 20), (None, 30))), Series("up", NODE | EXPORTER, ((1, 20), (0, 30)))),
        *({32: ()}, "critical"),
    ),
    *(
        Case(
            name,
            "leaves XID 45 alone, also by the thousand",
            (_flat(_COUNT, {**GPU, "xid": "45"}, 5000),),
            {15: ()},
            "",
        )
        for name in XIDS
    ),
    Case(
        *("SuperpodGpuXidReboot", "is one alert, whoever tells it and however often"),
        (
            *(_flat(_COUNT, {**GPU, "xid": "79", "hpc_job": job, "GPU_I_ID": job}, 3) for job in ("1", "2")),
            Series(_KERNEL, {**GPU, **OWN, "xid": "79", "UUID": "GPU-3", "pci_bus_id": "x"}, ((0, 20), (1, 40))),
        ),
        *({25: ({**GPU, "xid": "79"},)}, "critical"),
    ),
    Case(
        *("SuperpodGpuXidReboot", "tells a GPU whose number nobody knows"),
        (Series(_KERNEL, {**NODE, **OWN, "xid": "79", "gpu": "", "pci_bus_id": "x"}, ((0, 20), (1, 40))),),
        *({25: ({**NODE, "xid": "79"},)}, "critical"),
    ),
    Case(
        *("SuperpodGpuXidReboot", "tells a second GPU whose number nobody knows"),
        (
            _flat(_KERNEL, {**NODE, **OWN, "xid": "79", "gpu": "", "pci_bus_id": "x"}, 3, 60),
            Series(_KERNEL, {**NODE, **OWN, "xid": "79", "gpu": "", "pci_bus_id": "y"}, ((0, 20), (1, 40))),
        ),
        *({19: (), 25: ({**NODE, "xid": "79"},)}, "critical"),
    ),
    Case(
        *("SuperpodGpuXidReboot", "is not told anew where one of two jobs that scrape a node goes"),
        tuple(
            Series(_KERNEL, {**GPU, **OWN, "xid": "79", "UUID": "GPU-3", "instance": instance}, parts)
            for instance, parts in (("a", ((2, 60),)), ("b", ((2, 20), (None, 40))))
        ),
        *({19: (), 32: ()}, "critical"),
    ),
    Case(
        *("SuperpodGpuXidRecovery", "does not tell that the driver asks for nothing any more"),
        (
            _flat(_KERNEL, {**GPU, **OWN, "xid": "154", "action": "drain_p2p"}, 1, 60),
            Series(_KERNEL, {**GPU, **OWN, "xid": "154", "action": "none"}, ((1, 20), (2, 40))),
        ),
        *({19: (), 25: ()}, "warning"),
    ),
    Case(
        *("SuperpodGpuXidRecovery", "tells that the driver asks for something again"),
        (
            Series(_KERNEL, {**GPU, **OWN, "xid": "154", "action": "drain_p2p"}, ((1, 20), (2, 40))),
            _flat(_KERNEL, {**GPU, **OWN, "xid": "154", "action": "none"}, 4, 60),
        ),
        *({19: (), 25: ({**GPU, "xid": "154"},)}, "warning"),
    ),
    Case(
        *("SuperpodGpuXidRecoveryUrgent", "fires also where DCGM tells the XID without the action"),
        (
            Series(_KERNEL, {**GPU, **OWN, "xid": "154", "action": "reboot"}, ((1, 20), (2, 40))),
            Series(_TOTAL, {**EXPORTER, **GPU, "xid": "154"}, ((0, 20), (1, 40))),
        ),
        *({19: (), 25: ({**GPU, "xid": "154", "action": "reboot"},)}, "critical"),
    ),
    *(
        Case(
            *(alert, f"is the one that action {action} fires"),
            *((_flat(_ACTION, GPU, action),), {4: (), 6: ({**GPU},) if alert == right else ()}, severity),
        )
        for action, right in ((2, _RESET), (3, _LESS), (4, _RESET), (5, _LESS))
        for alert, severity in ((_RESET, "critical"), (_LESS, "warning"))
    ),
    Case(
        *("SuperpodGpuXidRecovery", "leaves to the other what needs a reset"),
        (
            Series(_KERNEL, {**GPU, **OWN, "xid": "154", "action": "reset"}, ((1, 20), (2, 40))),
            Series(_TOTAL, {**EXPORTER, **GPU, "xid": "154"}, ((0, 20), (1, 40))),
        ),
        *({19: (), 25: ()}, "warning"),
    ),
    Case(
        *("SuperpodGpuDoubleBitError", "fires when the next job begins with the event"),
        (
            *(
                Series("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", {**EXPORTER, **GPU, "hpc_job": job}, parts)
                for job, parts in (("1", ((0, 20), (None, 20))), ("2", ((None, 20), (1, 20))))
            ),
        ),
        *({19: (), 22: (GPU,)}, "critical"),
    ),
    Case(
        *("SuperpodReleaseDiffers", "does not fire where no head tells what is wanted"),
        (_flat("superpod_dcgm_info", {**NODE, **OWN, "release": "4.4.2-4.7.1", "method": "build"}, 1),),
        *({90: ()}, "info"),
    ),
    Case(
        *("SuperpodGpuSingleBitErrors", "leaves a GPU alone whose neighbours have as many"),
        tuple(
            Series("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", {**GPU, "gpu": gpu}, ((0, 20), (5000, 20)))
            for gpu in ("0", "1", "2")
        ),
        *({22: ()}, "warning"),
    ),
    Case(
        *("SuperpodGpuHot", "goes by the margin where the GPU tells it, and not by temperatures"),
        (_flat(_MARGIN, GPU, 20), _flat(_TEMP, GPU, 95), _flat(_SLOWDOWN, GPU, 89)),
        *({90: ()}, "warning"),
    ),
    Case(
        *("SuperpodGpuHot", "goes by the temperature of slowdown before that of operation"),
        (_flat(_TEMP, GPU, 83), _flat(_SLOWDOWN, GPU, 89), _flat(_MOST, GPU, 80)),
        *({90: ()}, "warning"),
    ),
    *(
        Case(
            name, "leaves the power cap alone", (_flat(_CLOCKS, {**GPU, "clock_event": "power_cap"}, 10),), {90: ()}, ""
        )
        for name in (
            *("SuperpodGpuThermalSlowdown", "SuperpodGpuThermalSoftware", "SuperpodGpuPowerBrake"),
            "SuperpodGpuSlowdown",
        )
    ),
    Case(
        *("SuperpodGpuSlowdown", "leaves it to the alert on the reason"),
        tuple(_flat(_CLOCKS, {**GPU, "clock_event": event}, 5) for event in ("hw_slowdown", "hw_thermal")),
        *({90: ()}, "warning"),
    ),
    Case(
        *("SuperpodGpuProfilingDead", "leaves a GPU alone that is hardly used"),
        (_flat(_PROF, GPU, 0), _flat(_UTIL, GPU, 5)),
        *({90: ()}, "warning"),
    ),
    Case(
        *("SuperpodGpuIdle", "leaves a young job alone on a GPU that was idle before it"),
        (
            *(_flat(name, GPU, value, 140) for name, value in ((_PROF, 0), (_UTIL, 0), (_POWER, 90))),
            Series(_INFO, {**GPU, **OWN, **JOB}, ((1, 64), (None, 70))),
            Series(_INFO, {**GPU, **OWN, **_OTHER}, ((None, 64), (1, 70))),
        ),
        {63: ({**GPU, **JOB},), 70: (), 123: (), 126: ({**GPU, **_OTHER},)},
        "info",
    ),
    Case(
        *("SuperpodGpuIdle", "leaves a GPU alone whose profiling is dead"),
        *((_flat(_PROF, GPU, 0), _flat(_UTIL, GPU, 97), _flat(_POWER, GPU, 600), _HOLDS), {90: ()}, "info"),
    ),
    Case(
        *("SuperpodGpuIdle", "goes by GPU_UTIL where no profiling is shown"),
        (_flat(_UTIL, GPU, 0), _flat(_POWER, GPU, 90), _HOLDS),
        *({59: (), 62: ({**GPU, **JOB},)}, "info"),
    ),
    Case(
        *("SuperpodGpuIdle", "leaves a GPU alone that nobody holds"),
        *((_flat(_PROF, GPU, 0), _flat(_UTIL, GPU, 0)), {90: ()}, "info"),
    ),
    Case(
        *("SuperpodGpuIdle", "does not judge an instance whose board works"),
        (_flat(_PROF, _MIG, 0), _flat(_POWER, _MIG, 101), _flat(_INFO, {**_MIG, **OWN, **JOB}, 1)),
        *({90: ()}, "info"),
    ),
    Case(
        *("SuperpodGpuIdle", "tells an instance whose board rests at a fifth of its limit"),
        (
            *(_flat(_PROF, _MIG, 0), _flat(_POWER, _MIG, 190), _flat("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", _MIG, 1000)),
            _flat(_INFO, {**_MIG, **OWN, **JOB}, 1),
        ),
        *({90: ({**GPU, "GPU_I_ID": "7", **JOB},)}, "info"),
    ),
    Case(
        *("SuperpodGpuIdle", "does not believe GPU_UTIL of an instance, which reads 0"),
        (
            *(_flat(_PROF, _MIG, 0), _flat(_UTIL, _MIG, 0), _flat(_POWER, _MIG, 101)),
            _flat(_INFO, {**_MIG, **OWN, **JOB}, 1),
        ),
        *({90: ()}, "info"),
    ),
    Case(
        *("SuperpodGpuIdle", "does not judge an instance by GPU_UTIL alone"),
        (_flat(_UTIL, _MIG, 0), _flat(_POWER, _MIG, 90), _flat(_INFO, {**_MIG, **OWN, **JOB}, 1)),
        *({90: ()}, "info"),
    ),
    Case(
        *("SuperpodGpuIdle", "tells an instance whose board rests, and both jobs on it"),
        (
            *(_flat(_PROF, _MIG, 0), _flat(_POWER, _MIG, 90)),
            *(_flat(_INFO, {**_MIG, **OWN, **job}, 1) for job in (JOB, _OTHER)),
        ),
        {90: tuple({**GPU, "GPU_I_ID": "7", **job} for job in (JOB, _OTHER))},
        "info",
    ),
    Case(
        *("SuperpodJobMapStale", "leaves nodes alone whose GPUs are free for maintenance"),
        (Series("dcgm_job_map_reconcile_timestamp_seconds", {**NODE, **OWN}, ((600, 90),)), _FREED),
        *({90: ()}, "warning"),
    ),
)
CASES = (*(case for row in (*STATES, *EVENTS) for case in row.cases()), *SINGLE)
