"""Every path that is not configurable, in one place; docs/architecture.md explains the layout."""

from __future__ import annotations

NODE_STATE = "/var/lib/superpod-dcgm"
ROLES_RECORD = "roles.json"
ROLES_FILE = f"{NODE_STATE}/{ROLES_RECORD}"
# The unit has a condition on this file, which only the service state writes: a BCM node that boots
# from an old image, or whose role went away while it was off, does not start the exporter.
ENABLED_FLAG = f"{NODE_STATE}/enabled"
# In it: what a role call needs of the configuration, and the configuration of the last apply that succeeded.
SERVICE_RECORD = "service.json"
APPLIED_RECORD = "applied.json"
NODE_RUNTIME = "/run/superpod-dcgm"
# Held while somebody works on the exporter's unit; and what it was started with, until it answers.
SERVICE_LOCK = f"{NODE_RUNTIME}/service.lock"
STARTED_RECORD = f"{NODE_RUNTIME}/started.json"
# What the exporter's page showed just before the states began to change something.
SHOWN_RECORD = f"{NODE_RUNTIME}/shown.json"
# Says that the unit need not wait any more in this boot: the service state lets it start, or it waited in vain.
MAY_START = f"{NODE_RUNTIME}/may-start"
# What prolog and epilog look GPUs up in, made outside of any job, and how the last attempt to make it went.
DEVICES = f"{NODE_RUNTIME}/devices"
DEVICES_STATUS = f"{NODE_RUNTIME}/devices.json"
# The last table that slurmd's own answer is in, for the first job after a boot, before slurmd can be asked.
DEVICES_KEPT = f"{NODE_STATE}/devices"
# Each prolog and epilog appends a line, which the timer counts into the other file.
SPOOL = f"{NODE_RUNTIME}/spool"
JOB_MAP_STATE = f"{NODE_RUNTIME}/job-map.json"
# Up to where the kernel log was read, and how many XIDs it had.
KERNEL_LOG = f"{NODE_STATE}/kernel-log.json"
# Says that the GPUs are free for maintenance, and keeps our units down as long; a reboot ends it.
GPUS_FREED = f"{NODE_RUNTIME}/gpus-freed.json"
RUNTIME_UNITS = "/run/systemd/system"
GPUS_FREED_DROP_IN = "50-superpod-gpus-freed.conf"
# What the exporter was started with: a difference means that it has to be restarted.
RUNNING_FILE = f"{NODE_STATE}/running.json"
# Copies of the files that it last answered with.
GOOD = f"{NODE_STATE}/good"
# Digests of files that we wrote and that cannot say so themselves.
OWNED_FILE = f"{NODE_STATE}/owned.json"
# All of a node's own in NODE_STATE, which is the head's as well on a machine that is both: by what clean may remove.
NODE_FILES = (
    *(ROLES_FILE, ENABLED_FLAG, RUNNING_FILE, GOOD, f"{GOOD}.new", OWNED_FILE),
    *(f"{NODE_STATE}/{SERVICE_RECORD}", f"{NODE_STATE}/{APPLIED_RECORD}"),
)
HEAD_CONFIG = "/etc/superpod-dcgm"
HEAD_STATE = "/var/lib/superpod-dcgm"
SNAPSHOT = f"{HEAD_STATE}/snapshot.json"
# The watcher's own metrics, who serves them, and where else they are linked to.
HEAD_METRICS = f"{HEAD_STATE}/metrics/superpod-dcgm-head.prom"
HEAD_METRICS_UNIT = "superpod-dcgm-head.service"
HEAD_METRICS_LINK = f"{HEAD_STATE}/metrics/linked.json"
WATCHER_SETTINGS = f"{HEAD_CONFIG}/watcher.json"
WATCHER_CA = f"{HEAD_CONFIG}/ca.pem"
WATCHER_CODE = "/usr/local/lib/superpod-dcgm"
WATCHER_MASTER_CONFIG = "/etc/salt/master.d/superpod-dcgm-watcher.conf"
# The transient timer that restarts the master a moment after its configuration changed.
WATCHER_RESTART = "superpod-dcgm-restart-master"
EXPORTER_ROOT = "/opt/dcgm-exporter"
EXPORTER_CURRENT = f"{EXPORTER_ROOT}/current"
EXPORTER_LINK = "/usr/bin/dcgm-exporter"
EXPORTER_CONFIG = "/etc/dcgm-exporter"
EXPORTER_ENVIRONMENT = f"{EXPORTER_CONFIG}/exporter.env"
EXPORTER_COUNTERS = f"{EXPORTER_CONFIG}/default-counters.csv"
EXPORTER_WEB = f"{EXPORTER_CONFIG}/web-config.yml"
JOB_MAP_CONFIG = f"{EXPORTER_CONFIG}/job-map.conf"
TMPFILES_CONFIG = "/etc/tmpfiles.d/superpod-dcgm.conf"
# The code that timer and services of a node run, and the file with this project's own metrics.
NODE_CODE = "/usr/local/lib/superpod-dcgm-node"
TEXTFILE_DIRECTORY = f"{NODE_RUNTIME}/textfile"
TEXTFILE = "superpod-dcgm.prom"
# Who serves the metrics, and who builds the exporter.
AGENT_USER = "superpod-dcgm"
BUILD_USER = "superpod-build"
DEVICES_UNIT = "dcgm-devices.service"
JOB_MAP_UNIT = "dcgm-job-map.service"
JOB_MAP_TIMER = "dcgm-job-map.timer"
TEXTFILE_UNIT = "dcgm-textfile.service"
# The Prometheus of ours; that of the distribution's package is somebody else's.
PROMETHEUS_UNIT = "superpod-prometheus.service"
PROMETHEUS_UNIT_FILE = f"/etc/systemd/system/{PROMETHEUS_UNIT}"
PROMETHEUS_USER = "superpod-prometheus"
PROMETHEUS_CONFIG = "/etc/superpod-prometheus"
# What was installed and written for it, and the files with which it last came up.
PROMETHEUS_RECORD = f"{PROMETHEUS_CONFIG}/record.json"
PROMETHEUS_GOOD = f"{PROMETHEUS_CONFIG}/last-good"
PROMETHEUS_RULES = f"{PROMETHEUS_CONFIG}/rules"
PROMETHEUS_WEB = f"{PROMETHEUS_CONFIG}/web.yml"
# Grafana: unit, user and places as its packages have them; and what is ours of it.
GRAFANA_UNIT = "grafana-server.service"
GRAFANA_USER = "grafana"
GRAFANA_INI = "/etc/grafana/grafana.ini"
GRAFANA_PROVISIONING = "/etc/grafana/provisioning"
GRAFANA_SOURCES_FILE = f"{GRAFANA_PROVISIONING}/datasources/superpod-dcgm.yaml"
GRAFANA_PROVIDER_FILE = f"{GRAFANA_PROVISIONING}/dashboards/superpod-dcgm.yaml"
GRAFANA_PROGRAMS = "/usr/share/grafana/bin"
GRAFANA_DATA = "/var/lib/grafana"
GRAFANA_CONFIG = "/etc/superpod-grafana"
GRAFANA_DASHBOARDS = f"{GRAFANA_CONFIG}/dashboards"
# Made once, and kept as long as the data: the server reads both at each start.
GRAFANA_PASSWORD = f"{GRAFANA_CONFIG}/admin-password"
GRAFANA_SECRET_KEY = f"{GRAFANA_CONFIG}/secret-key"
# What was installed and written; the package's own grafana.ini; the files with which it last came up.
GRAFANA_RECORD = f"{GRAFANA_CONFIG}/record.json"
GRAFANA_ORIGINAL = f"{GRAFANA_CONFIG}/grafana.ini.package"
GRAFANA_GOOD = f"{GRAFANA_CONFIG}/last-good"
# Where repositories of packages and their keys stand.
APT = "/etc/apt"
YUM = "/etc/yum.repos.d"
RPM_KEYS = "/etc/pki/rpm-gpg"
# What was put into a Grafana of others.
GRAFANA_PUT = f"{GRAFANA_CONFIG}/existing.json"
# The label `job` of exporters, of our own metrics and of the head's; and what Prometheus' configuration calls these
# jobs, which no job of a site is called: two of one name are refused.
SCRAPE_JOBS = ("dcgm-exporter", "superpod-dcgm", "superpod-dcgm-head")
SCRAPE_NAMES = (f"superpod-{SCRAPE_JOBS[0]}", *SCRAPE_JOBS[1:])
UNIT = "dcgm-exporter.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
# All that uses GPUs; the timer starts the last.
GPU_UNITS = (JOB_MAP_TIMER, UNIT, DEVICES_UNIT, JOB_MAP_UNIT)

# All that the agent reads and writes on a node, besides the directories that the pillar chooses.
AGENT_FILES = (
    JOB_MAP_CONFIG,
    TMPFILES_CONFIG,
    NODE_CODE,
    DEVICES,
    DEVICES_STATUS,
    DEVICES_KEPT,
    SPOOL,
    f"{SPOOL}.1",
    JOB_MAP_STATE,
    f"{JOB_MAP_STATE}.lock",
    KERNEL_LOG,
    GPUS_FREED,
    *(f"{RUNTIME_UNITS}/{unit}.d/{GPUS_FREED_DROP_IN}" for unit in GPU_UNITS),
)


def exported() -> dict[str, str]:
    """Return the constants in lower case, as templates use them (``dcgm.paths.unit``)."""
    return {name.lower(): value for name, value in globals().items() if name.isupper() and isinstance(value, str)}
