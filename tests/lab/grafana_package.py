"""A package of the layout that Grafana documents for its own, with a stand-in in it; the true one was never here."""

from __future__ import annotations

from pathlib import Path

from product import Cluster

SERVER = Path(__file__).with_name("grafana_standin.py")
# Salt's, which has PyYAML.
PYTHON = "/opt/salt/bin/python3"
# As conf/sample.ini of the package: all in comments.
INI = ";[server]\n;protocol = http\n;http_port = 3000\n;version = {}\n"
DEFAULTS = """\
GRAFANA_USER=grafana
GRAFANA_GROUP=grafana
CONF_DIR=/etc/grafana
CONF_FILE=/etc/grafana/grafana.ini
DATA_DIR=/var/lib/grafana
LOG_DIR=/var/log/grafana
PROVISIONING_CFG_DIR=/etc/grafana/provisioning
RESTART_ON_UPGRADE=true
"""
UNIT = """\
[Unit]
Description=Grafana instance
[Service]
EnvironmentFile=/etc/default/grafana-server
User=grafana
Group=grafana
Type=simple
Restart=on-failure
WorkingDirectory=/usr/share/grafana
UMask=0027
ExecStart=/usr/share/grafana/bin/grafana server --config=${CONF_FILE} cfg:default.paths.data=${DATA_DIR}
[Install]
WantedBy=multi-user.target
"""
# It makes the user, sets owners and modes again at every upgrade, and neither enables nor starts the service.
AFTER = """\
#!/bin/sh
set -e
. /etc/default/grafana-server
getent passwd grafana >/dev/null || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin grafana
mkdir -p /var/log/grafana /var/lib/grafana
chown -R grafana:grafana /var/log/grafana /var/lib/grafana
chmod 755 /var/log/grafana /var/lib/grafana
chown -R root:grafana /etc/grafana
find /etc/grafana -type f -exec chmod 640 {} ';'
find /etc/grafana -type d -exec chmod 755 {} ';'
systemctl daemon-reload
if [ -n "$2" ] && [ "$RESTART_ON_UPGRADE" = true ]; then systemctl try-restart grafana-server; fi
"""
FOLDERS = ("datasources", "dashboards", "alerting", "plugins", "access-control")


def build(cluster: Cluster, version: str) -> tuple[str, str]:
    """Build a deb on the head; return its path and its SHA-256."""
    root = f"/root/grafana-{version}"
    control = f"Package: grafana\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\nDescription: a stand-in\n"
    cluster.shell("head", f"mkdir -p {root}/DEBIAN {root}/etc/grafana/provisioning/{{{','.join(FOLDERS)}}}")
    for path, text in {
        "DEBIAN/control": control,
        "DEBIAN/conffiles": "/etc/grafana/grafana.ini\n/etc/default/grafana-server\n",
        "DEBIAN/postinst": AFTER,
        "etc/grafana/grafana.ini": INI.format(version),
        "etc/default/grafana-server": DEFAULTS,
        "usr/lib/systemd/system/grafana-server.service": UNIT,
        "usr/share/grafana/bin/grafana": SERVER.read_text().replace("/usr/bin/env python3", PYTHON),
    }.items():
        cluster.shell("head", f"mkdir -p {root}/$(dirname {path})")
        cluster.lab.exec("head", ["tee", f"{root}/{path}"], check=True, input=text)
    cluster.shell("head", f"chmod 755 {root}/DEBIAN/postinst {root}/usr/share/grafana/bin/grafana")
    cluster.shell("head", f"dpkg-deb --root-owner-group --build {root} {root}.deb && rm -r {root}")
    return f"{root}.deb", cluster.shell("head", f"sha256sum {root}.deb").split()[0]
