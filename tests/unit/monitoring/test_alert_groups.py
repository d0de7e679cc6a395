"""Which alerts a configuration means, why others are left out, and where they go; every alert has its runbook."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.config import resolve
from superpod_dcgm.monitoring import alert_parts, alerts, xids

ROOT = Path(__file__).parents[3]
SOURCES = tuple(
    yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)
LATEST = {"release": "4.9.0", "commit": "a" * 40}


def configuration(pillar: dict[str, Any]) -> dict[str, Any]:
    return resolve.configuration(*SOURCES, pillar)


def rules(pillar: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = alerts.groups(configuration(pillar))
    return {rule["alert"]: rule for group in found for rule in group["rules"] if "alert" in rule}


NEEDS_EXTENDED = {
    *("SuperpodGpuDoubleBitError", "SuperpodGpuSingleBitErrors", "SuperpodGpuRemapPending", "SuperpodGpuMemoryBad"),
    *("SuperpodGpuRecoveryUrgent", "SuperpodGpuRecoveryWanted"),
    *("SuperpodGpuThermalSlowdown", "SuperpodGpuThermalSoftware", "SuperpodGpuPowerBrake"),
    *("SuperpodGpuSlowdown", "SuperpodNvlinkErrors", "SuperpodNvlinkDown", "SuperpodFabricUnhealthy"),
}
JOB_MAP = {
    *("SuperpodJobMapStale", "SuperpodDeviceTableOld", "SuperpodDeviceTableGuessed", "SuperpodDeviceTablePending"),
    *("SuperpodPrologFailures", "SuperpodNodeMetricsDown", "SuperpodKernelLogUnread", "SuperpodNvswitchFatal"),
    *("SuperpodReleaseDiffers", "SuperpodGpuXidRecoveryUrgent"),
}
CERTIFICATE = "SuperpodExporterCertificateExpires"
TLS = {"tls": {"certificate": "/etc/x.crt", "key": "/etc/x.key"}}
XIDS = {one.alert for one in xids.CLASSES.values() if one.alert} | {"SuperpodGpuXidOther"}
HEAD = {"SuperpodTargetFilesOld", "SuperpodNodesWithoutTarget", "SuperpodHeadMetricsDown"}
PROFILING = {"SuperpodGpuProfilingDead", "SuperpodGpuProfilingMissing"}
OLD = {"release": "3.3.9-3.6.1"}
# pillar: alerts that are left out
LEFT_OUT: dict[str, tuple[dict[str, Any], set[str]]] = {
    "default counters": ({}, NEEDS_EXTENDED),
    "extended": ({"exporter": {"counters": "extended"}}, set()),
    "with TLS": ({"exporter": {"counters": "extended", **TLS}}, set()),
    "a web configuration of the site": ({"exporter": {"web_config": "/etc/web.yml"}}, NEEDS_EXTENDED),
    "with TLS, but no metrics that tell of it": (
        {"exporter": {"counters": "extended", **TLS}, "slurm": {"enabled": False}},
        JOB_MAP | {"SuperpodGpuIdle", CERTIFICATE},
    ),
    "extended, schema 2": ({"exporter": {"counters": "extended", **LATEST}}, set()),
    "a row of the site": (
        {"exporter": {"counter_rows": ["DCGM_FI_DEV_ECC_DBE_VOL_TOTAL, counter, x"]}},
        NEEDS_EXTENDED - {"SuperpodGpuDoubleBitError"},
    ),
    "a row of the site by its name in schema 2": (
        {"exporter": {"counter_rows": ["DCGM_FI_DEV_SRAM_EXCEEDED, gauge, x"], **LATEST}},
        NEEDS_EXTENDED - {"SuperpodGpuMemoryBad"},
    ),
    "a release without rows of profiling": ({"exporter": OLD}, NEEDS_EXTENDED | PROFILING),
    "a release that does not know some rows": (
        {"exporter": {"counters": "extended", **OLD}},
        PROFILING
        | {
            "SuperpodGpuMemoryBad",
            "SuperpodGpuRecoveryUrgent",
            "SuperpodGpuRecoveryWanted",
            "SuperpodNvlinkDown",
            "SuperpodFabricUnhealthy",
        },
    ),
    "no job map": ({"slurm": {"enabled": False}, "exporter": {"counters": "extended"}}, JOB_MAP | {"SuperpodGpuIdle"}),
    "no own metrics, no XIDs": ({"metrics": {"enabled": False}}, NEEDS_EXTENDED | JOB_MAP | XIDS),
    "nothing tells jobs": (
        {"job_map": {"users": False, "label": False}, "exporter": {"counters": "extended"}},
        {"SuperpodGpuIdle"},
    ),
    "metrics by node_exporter": (
        {"metrics": {"textfile_directory": "/var/lib/x"}, "exporter": {"counters": "extended"}},
        {"SuperpodNodeMetricsDown"},
    ),
    "no watcher": ({"watcher": {"enabled": False}, "exporter": {"counters": "extended"}}, HEAD),
    "disabled": (
        {"alerts": {"disabled": ["SuperpodGpuIdle"]}, "exporter": {"counters": "extended"}},
        {"SuperpodGpuIdle"},
    ),
    "all off": ({"alerts": {"enabled": False}}, {*alerts.names()}),
    "a file of the site on the nodes": (
        {
            "exporter": {"counters": "/etc/x.csv"},
            "alerts": {"rows": ["DCGM_FI_DEV_GPU_TEMP", "DCGM_EXP_XID_ERRORS_COUNT"]},
        },
        (NEEDS_EXTENDED | PROFILING | {"SuperpodGpuRowRemapped", "SuperpodGpuRemapFailed", "SuperpodGpuMemoryHot"})
        | {"SuperpodGpuIdle"},
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_an_alert_is_there_only_if_what_it_reads_is_there(name: str) -> None:
    pillar, names = LEFT_OUT[name]
    names = names | ({CERTIFICATE} if not {"tls", "web_config"} & pillar.get("exporter", {}).keys() else set())
    said = alerts.left_out(configuration(pillar))
    assert {sentence.partition(":")[0] for sentence in said} == names
    assert {*rules(pillar)} == {*alerts.names()} - names


def test_rows_of_a_file_that_the_master_serves_count() -> None:
    found = configuration({"exporter": {"counters": "salt://x.csv"}})
    assert "SuperpodGpuHot: the exporters do not show DCGM_FI_DEV_GPU_TEMP" in "\n".join(alerts.left_out(found))
    found["exporter"]["facts"]["own_names"] = ["DCGM_FI_DEV_GPU_TEMP"]
    assert "SuperpodGpuHot" not in "\n".join(alerts.left_out(found))


def test_rows_are_read_from_a_file_that_the_master_serves_and_from_no_other(load: Any) -> None:
    served = {"salt://x.csv": "# a comment\nDCGM_FI_DEV_GPU_TEMP, gauge, Heat.\n"}
    module = load("_modules/dcgm_config.py", __salt__={"cp.get_file_str": lambda path: served.get(path, False)})
    assert module._names("salt://x.csv") == ["DCGM_FI_DEV_GPU_TEMP"]
    assert [module._names(path) for path in ("salt://y.csv", "/etc/x.csv", "default")] == [[], [], []]


def test_why_an_alert_is_left_out_names_the_row_and_the_key() -> None:
    (found,) = [text for text in alerts.left_out(configuration({})) if text.startswith("SuperpodGpuDoubleBitError")]
    assert "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL" in found and "exporter:counters" in found


@pytest.mark.parametrize(
    ("pillar", "text"),
    [
        ({"alerts": {"enabled": False}}, "This site has no alerts: dcgm:alerts:enabled is false"),
        ({"exporter": {"counters": "extended", **TLS}}, "This site has all alerts"),
        ({}, f"Of {len(alerts.names())} alerts {len(NEEDS_EXTENDED) + 1} are left out (docs/alerts.md):\nSuperpod"),
    ],
)
def test_a_state_says_what_is_left_out(pillar: dict[str, Any], text: str) -> None:
    assert alerts.comment(configuration(pillar)).startswith(text)


def test_severity_labels_and_runbook_are_those_of_the_pillar() -> None:
    changed = {"severities": {"SuperpodGpuIdle": "warning"}, "labels": {"team": "hpc"}, "runbooks": "https://wiki/#"}
    found = rules({"alerts": {**changed, "thresholds": {"idle": 1800}}})
    assert found["SuperpodGpuIdle"]["labels"] == {"team": "hpc", "severity": "warning"}
    assert found["SuperpodGpuIdle"]["for"] == "1800s"
    assert found["SuperpodGpuHot"]["labels"] == {"team": "hpc", "severity": "warning"}
    assert found["SuperpodGpuHot"]["annotations"]["runbook_url"] == "https://wiki/#superpodgpuhot"


def test_how_long_it_takes_is_that_of_the_pillar() -> None:
    found = rules({"alerts": {"for": {"SuperpodExporterDown": 60, "SuperpodGpuHot": 0, "SuperpodGpuXidReboot": 120}}})
    assert (found["SuperpodExporterDown"]["for"], found["SuperpodGpuXidReboot"]["for"]) == ("60s", "120s")
    assert "for" not in found["SuperpodGpuHot"] and found["SuperpodGpuMissing"]["for"] == "5m"


def test_names_are_unique_and_have_one_prefix_and_severities_are_known() -> None:
    every = [alert for group in alerts.GROUPS.values() for alert in group]
    assert [name for name, times in Counter(alerts.names()).items() if times > 1] == []
    assert all(re.fullmatch("Superpod([A-Z][a-z0-9]+)+", alert.name) for alert in every)
    assert {alert.severity for alert in every} == {*alert_parts.SEVERITIES}
    assert all(alert.summary.endswith(".") and "{{" not in alert.summary for alert in every)


def test_no_xid_is_in_two_classes() -> None:
    every = [xid for one in xids.CLASSES.values() for xid in one.xids]
    assert [xid for xid, times in Counter(every).items() if times > 1] == []


@pytest.mark.parametrize(
    ("xid", "name"),
    [(13, "application"), (45, "nothing"), (79, "reboot"), (119, "reset"), (74, "nvlink"), (149, "fabric"), (165, "")],
)
def test_an_xid_has_the_class_of_nvidia_s_catalogue(xid: int, name: str) -> None:
    assert xids.of(xid) == name


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    text = (ROOT / "docs/runbooks.md").read_text()
    sections = re.split("^### ", text, flags=re.MULTILINE)[1:]
    assert sorted(section.split()[0] for section in sections) == sorted(alerts.names())
    for section in sections:
        parts = re.findall(r"^- \*\*(\w+):\*\* \S", section, flags=re.MULTILINE)
        assert parts == ["Meaning", "Impact", "Diagnosis", "Mitigation"], section.split()[0]


def test_thresholds_and_what_a_site_has_are_on_the_page_of_alerts() -> None:
    text = (ROOT / "docs/alerts.md").read_text()
    assert [name for name in alerts.names() if f"`{name}`" not in text] == []
    assert {*re.findall(r"`(Superpod\w+)`", text)} <= {*alerts.names()}
    found = {
        name: rule["labels"]["severity"] for name, rule in rules({"exporter": {"counters": "extended", **TLS}}).items()
    }
    rows = dict(re.findall(r"^\| \[`(\w+)`\]\(runbooks\.md#\w+\) \| (\w+) ", text, flags=re.MULTILINE))
    assert rows == found


def test_alerts_go_to_the_alertmanagers_of_the_pillar() -> None:
    assert alerts.alerting(configuration({})) == {}
    found = configuration({"alerts": {"alertmanagers": ["http://mon-01:9093", "https://am.example/prefix/"]}})
    assert alerts.alerting(found) == {
        "alertmanagers": [
            {"scheme": "http", "static_configs": [{"targets": ["mon-01:9093"]}]},
            {"scheme": "https", "path_prefix": "/prefix", "static_configs": [{"targets": ["am.example"]}]},
        ]
    }


# name: (section alerts, further sections, words of the one sentence)
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "an unknown alert switched off": (
        {"disabled": ["SuperpodGpuIdl"]},
        {},
        ("dcgm:alerts:disabled: there is no alert SuperpodGpuIdl", "did you mean SuperpodGpuIdle?", "runbooks.md"),
    ),
    "an unknown alert with a severity": (
        {"severities": {"Nothing": "info"}},
        {},
        ("dcgm:alerts:severities: there is no alert Nothing",),
    ),
    "switched off and with a severity": (
        {"severities": {"SuperpodGpuIdle": "info"}, "disabled": ["SuperpodGpuIdle"]},
        {},
        ("dcgm:alerts:severities:SuperpodGpuIdle", "alerts:disabled"),
    ),
    "an unknown alert with a time": ({"for": {"Nothing": 5}}, {}, ("dcgm:alerts:for: there is no alert Nothing",)),
    "switched off and with a time": (
        {"for": {"SuperpodGpuHot": 5}, "disabled": ["SuperpodGpuHot"]},
        {},
        ("dcgm:alerts:for:SuperpodGpuHot", "alerts:disabled"),
    ),
    "a time that has a key of its own": (
        {"for": {"SuperpodGpuIdle": 5}},
        {},
        ("dcgm:alerts:for:SuperpodGpuIdle", "idle"),
    ),
    "a time that is none": ({"for": {"SuperpodGpuHot": -1}}, {}, ("dcgm:alerts:for:SuperpodGpuHot: -1",)),
    "a severity that is none": (
        {"severities": {"SuperpodGpuIdle": "page"}},
        {},
        ("dcgm:alerts:severities:SuperpodGpuIdle", "critical, warning, info"),
    ),
    "a label that alerts have": ({"labels": {"host": "x"}}, {}, ("dcgm:alerts:labels:host", "choose another")),
    "a label that is Prometheus' own": ({"labels": {"__name__": "x"}}, {}, ("dcgm:alerts:labels:__name__", "own")),
    "a label with a template": ({"labels": {"t": "{{ x }}"}}, {}, ("dcgm:alerts:labels:t: '{{ x }}'", "plain text")),
    "runbooks with a template": ({"runbooks": "http://w/{{.}}"}, {}, ("dcgm:alerts:runbooks: 'http://w/{{.}}'",)),
    "a job map that is old between two looks": (
        {"thresholds": {"job_map": 500}},
        {},
        ("dcgm:alerts:thresholds:job_map: 500", "job_map:reconcile (300)", "600"),
    ),
    "polls that are rarer than targets may be old": (
        {},
        {"watcher": {"interval": 600}},
        ("dcgm:alerts:thresholds:targets: 900", "watcher:interval (600)", "1200"),
    ),
    "an Alertmanager of a Prometheus of others": (
        {"alertmanagers": ["http://mon-01:9093"]},
        {"prometheus": {"mode": "existing"}},
        ("dcgm:alerts:alertmanagers", "mode: existing", "leave this key empty"),
    ),
    "an address that is none": ({"alertmanagers": ["mon-01:9093"]}, {}, ("dcgm:alerts:alertmanagers[0]", "http(s)://")),
    "a threshold that is none": ({"thresholds": {"margin": -5}}, {}, ("dcgm:alerts:thresholds:margin: -5",)),
}


@pytest.mark.parametrize(
    "address",
    [
        *("http://[::1", "http://mon:99999", "http://mon:abc", "http://mon:0", "http://:9093", "http://a,b:9093"),
        *("http://a,http://b", "http://{{x}}:9093", "http://::1:9093", "https://[mon]:9093", "http://"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_by_its_place(address: str) -> None:
    with pytest.raises(resolve.ConfigurationError) as caught:
        configuration({"alerts": {"alertmanagers": ["http://mon-01:9093", address]}})
    assert str(caught.value).startswith(f"dcgm:alerts:alertmanagers[1]: {address!r}")


def test_an_address_of_ipv6_is_taken() -> None:
    found = configuration({"alerts": {"alertmanagers": ["http://[fd00::1]:9093"]}})
    assert alerts.alerting(found)["alertmanagers"][0]["static_configs"] == [{"targets": ["[fd00::1]:9093"]}]


def test_no_label_of_the_site_takes_the_place_of_one_that_tells_alerts_apart() -> None:
    pillars: list[dict[str, Any]] = [
        {"exporter": {"counters": "extended"}},
        {"exporter": {"counters": "extended"}, "job_map": {"users": False}},
    ]
    texts = [rule["expr"] for pillar in pillars for rule in rules(pillar).values()]
    texts += [rule["expr"] for group in alerts.groups(configuration(pillars[0])) for rule in group["rules"]]
    lists = [found for text in texts for found in re.findall(r"\b(?:by|on) \(([^()]*)\)", text)]
    # Some are only added up.
    names = {name.strip() for found in lists for name in found.split(",")} - {"", "UUID", "pci_bus_id", "action"}
    assert {"nvswitch", "reason", "hpc_job"} <= names
    with pytest.raises(resolve.ConfigurationError) as caught:
        configuration({"alerts": {"labels": dict.fromkeys(names, "x")}})
    assert len(str(caught.value).splitlines()) == len(names)


@pytest.mark.parametrize("name", REFUSED)
def test_what_contradicts_itself_is_refused_in_one_sentence(name: str) -> None:
    section, others, words = REFUSED[name]
    with pytest.raises(resolve.ConfigurationError) as caught:
        configuration({"alerts": section, **others})
    (sentence,) = str(caught.value).splitlines()
    assert [word for word in words if word not in sentence] == []


@pytest.mark.parametrize("name", ["default counters", "extended", "no watcher"])
def test_no_alert_asks_a_job_of_others_that_has_the_name_of_ours(name: str) -> None:
    found = [rule["expr"] for rule in rules(LEFT_OUT[name][0]).values()]
    asked = [matchers for text in found for matchers in re.findall(r"\{([^}]*job=\"dcgm-exporter\"[^}]*)\}", text)]
    assert asked
    assert [matchers for matchers in asked if "cluster" not in matchers] == []
