"""A Prometheus that a site runs on the head already: its own job, rules and retention."""

from __future__ import annotations

from superpod.lab import Lab
from superpod.lab.layout import HEAD

CONFIG = "/etc/prometheus/prometheus.yml"
RULES = "/etc/prometheus/site-rules.yml"
FILES = {
    CONFIG: f"""\
global: {{scrape_interval: 2s}}
rule_files: [{RULES}]
scrape_configs:
  - job_name: site
    static_configs:
      - targets: ['localhost:9090']
""",
    RULES: """\
groups:
  - name: site
    rules:
      - {record: 'site:up', expr: up}
""",
    "/etc/default/prometheus": 'ARGS="--storage.tsdb.retention.time=1y"\n',
}
ASK = """
systemctl show -P MainPID -P ActiveState -P UnitFileState -P DropInPaths prometheus
systemctl cat prometheus
tr '\\0' ' ' < /proc/$(systemctl show -P MainPID prometheus)/cmdline
"""


def start(lab: Lab) -> None:
    """Configure the distribution's Prometheus as a site's administrator does, and start it."""
    for path, text in FILES.items():
        lab.exec(HEAD, ["tee", path], check=True, input=text)
    lab.exec(HEAD, ["systemctl", "enable", "--now", "prometheus"], check=True)


def identity(lab: Lab) -> str:
    """Return process, unit, options and configuration: none of them is ours to change."""
    files = lab.exec(HEAD, ["sha256sum", *FILES], check=True).stdout
    return lab.exec(HEAD, ["bash", "-c", ASK], check=True).stdout + files
