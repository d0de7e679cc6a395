"""Alerts on what watches: exporters, this project's own metrics, the watcher's target files."""

from __future__ import annotations

from superpod_dcgm.monitoring import metric_names
from superpod_dcgm.monitoring.alert_parts import OF_NODE, Alert
from superpod_dcgm.monitoring.alert_site import EXPORTER, HEAD, NODE, OWN, Missing, Site

# How many GPUs each node shows: 0 where its page is empty, nothing where it could not be read.
GPUS = "host:superpod_gpus:count"
_UP = metric_names.of_ours("up")
CERTIFICATE = "superpod_dcgm_exporter_certificate_expiry_timestamp_seconds"


def gpus(site: Site) -> str:
    """
    Return the expression of ``GPUS``.

    :raises Missing: no row that every GPU has is shown.
    """
    return f"count by ({NODE}) ({site.row(_of_every_gpu(site))}) or max by ({NODE}) ({_UP} == 1) * 0"


def _of_every_gpu(site: Site) -> str:
    rows = ("gpu_temperature", "power", "sm_clock", "memory_used", "energy")
    return next((key for key in rows if key in site.rows), rows[0])


def _down(site: Site) -> str:
    return f"max by ({NODE}) ({_UP}) == 0{site.not_freed()}"


def _none(site: Site) -> str:
    # absent() has the labels of its matchers.
    absent = f'sum by (cluster) (absent(up{{job="{EXPORTER}", cluster="{site.configuration["cluster"]}"}}))'
    try:
        return f"{absent} unless on (cluster) ({site.head('superpod_dcgm_nodes_wanted', 'cluster')} == 0)"
    except Missing:
        return absent


def _targets_old(site: Site) -> str:
    return f"time() - {site.head('superpod_dcgm_targets_timestamp_seconds')} > {site.thresholds['targets']}"


def _without_target(site: Site) -> str:
    # Of exporters or of our own metrics, whichever has fewer.
    there = "min by (cluster) (superpod_dcgm_nodes_with_target)"
    return f"{site.head('superpod_dcgm_nodes_wanted', 'cluster')} - {there} > 0"


def _head_down(site: Site) -> str:
    site.head("superpod_dcgm_watcher_ok")
    return f'max by ({NODE}) (up{{job="{HEAD}"}}) == 0'


def _slow(site: Site) -> str:
    seconds = site.thresholds["slow"]
    took = metric_names.of_ours("scrape_duration_seconds")
    return f"max by ({NODE}) ({took}) > {seconds} and max by ({NODE}) ({_UP}) == 1"


def _own_down(site: Site) -> str:
    if site.configuration["metrics"]["textfile_directory"]:
        raise Missing("the node_exporter of metrics:textfile_directory serves these metrics")
    site.own("dcgm_job_map_device_table_ok")
    # A node that is down as a whole is told by the exporter.
    other = f"max by ({NODE}) ({_UP}) == 0"
    return f'max by ({NODE}) (up{{job="{OWN}"}}) == 0 unless on ({NODE}) ({other})'


def _gpus_missing(site: Site) -> str:
    site.row(_of_every_gpu(site))
    expected = site.thresholds["gpus"] or f"max_over_time({GPUS}[1d])"
    return f"{GPUS} < {expected}{site.not_freed()}"


def _release(site: Site) -> str:
    release = site.configuration["exporter"]["release"]
    if not site.configuration["exporter"]["enabled"]:
        raise Missing("exporter:enabled is false")
    by, info = f"{NODE}, release, method", "superpod_dcgm_info"
    try:
        wanted = site.head("superpod_dcgm_head_info", "cluster, release")
    except Missing:
        return site.own(f'{info}{{release!="{release}"}}', by)
    # What the head has by its pillar, also of a cluster whose rules are not evaluated here.
    return f"{site.own(info, by)} unless on (cluster, release) {wanted} and on (cluster) {wanted}"


def _certificate(site: Site) -> str:
    exporter = site.configuration["exporter"]
    if not (exporter["tls"]["certificate"] or exporter["web_config"]):
        raise Missing("the exporters have no certificate: exporter:tls and exporter:web_config are empty")
    return f"{site.own(CERTIFICATE)} - time() < {site.thresholds['certificate']}"


ALERTS = (
    Alert(
        *("SuperpodExporterDown", "warning", _down),
        summary="A node that should run dcgm-exporter cannot be scraped.",
        description=f"dcgm-exporter of {OF_NODE} does not answer.",
        hold="5m",
    ),
    Alert(
        *("SuperpodNoExporters", "critical", _none),
        summary="Prometheus has no target of dcgm-exporter at all.",
        description="No node of the cluster {{ $labels.cluster }} is a target: no target files, or not read.",
        hold="15m",
    ),
    Alert(
        *("SuperpodExporterSlow", "warning", _slow),
        summary="dcgm-exporter answers slowly.",
        description=f'dcgm-exporter of {OF_NODE} answers in {{{{ $value | printf "%.0f" }}}} s.',
        hold="15m",
    ),
    Alert(
        *("SuperpodNodeMetricsDown", "warning", _own_down),
        summary="The metrics of this project cannot be scraped on a node whose exporter answers.",
        description=f"dcgm-textfile.service of {OF_NODE} does not answer: no XIDs of the kernel log, no users of GPUs.",
        hold="10m",
    ),
    Alert(
        *("SuperpodGpuMissing", "critical", _gpus_missing),
        summary="A node shows fewer GPUs than it has.",
        description=f"{OF_NODE} shows {{{{ $value }}}} GPUs, fewer than it should.",
        hold="5m",
    ),
    Alert(
        *("SuperpodTargetFilesOld", "warning", _targets_old),
        summary="The files by which Prometheus finds nodes are old.",
        description=f"The watcher on {OF_NODE} last wrote all target files {{{{ $value | humanizeDuration }}}} ago.",
        hold="5m",
    ),
    Alert(
        *("SuperpodNodesWithoutTarget", "warning", _without_target),
        summary="Nodes that should run dcgm-exporter have no target file.",
        description="{{ $value }} nodes of the cluster {{ $labels.cluster }} are not scraped, and should be.",
        hold="30m",
    ),
    Alert(
        *("SuperpodHeadMetricsDown", "warning", _head_down),
        summary="The watcher's metrics on the head cannot be scraped.",
        description=f"superpod-dcgm-head.service of {OF_NODE} does not answer: nobody knows how old target files are.",
        hold="10m",
    ),
    Alert(
        *("SuperpodReleaseDiffers", "info", _release),
        summary="A node runs another release of dcgm-exporter than the fleet.",
        description=f'{OF_NODE} has dcgm-exporter {{{{ or $labels.release "of no known release" }}}}.',
        hold="1h",
    ),
    Alert(
        *("SuperpodExporterCertificateExpires", "warning", _certificate),
        summary="The certificate of an exporter is about to expire.",
        description=f"The certificate of dcgm-exporter on {OF_NODE} expires in {{{{ $value | humanizeDuration }}}}.",
        hold="15m",
    ),
)
