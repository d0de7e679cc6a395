"""Our own Grafana by a stand-in of its package, and one of others by a fake of its API. The true Grafana never "
"ran here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grafana_package
import pytest
import yaml
from own_prometheus import Pillar, apply, changed, failed
from product import Cluster

from tests import fake_grafana

pytestmark = pytest.mark.usefixtures("deployed")
SLS = "dcgm.grafana"
STARTED = "Start grafana-server.service"
BOARDS = "/etc/superpod-grafana/dashboards"
SECRETS = ("/etc/superpod-grafana/admin-password", "/etc/superpod-grafana/secret-key")
THEIRS = '{"uid": "theirs", "title": "Theirs", "panels": [], "tags": []}'
UIDS = {f"superpod-{name}" for name in ("cluster", "node", "job", "users", "health", "fleet")}
EVERYTHING = "find /etc/grafana /etc/superpod-grafana /etc/apt -printf '%p %u %g %m %T@\\n' | sort; systemctl show -p \
MainPID,UnitFileState,ActiveState grafana-server"
# A site's own dashboards, beside ours.
SITE = f"""
mkdir -p /srv/boards; echo '{THEIRS}' > /srv/boards/theirs.json
cat > /etc/grafana/provisioning/dashboards/site.yaml <<'END'
apiVersion: 1
providers:
- {{name: site, folder: Site, folderUid: site, type: file, options: {{path: /srv/boards}}}}
END
chown root:grafana /etc/grafana/provisioning/dashboards/site.yaml
"""
GONE = (
    "systemctl stop grafana-server; dpkg --purge grafana; rm -rf /etc/grafana /etc/superpod-grafana /var/lib/grafana \
/var/log/grafana /srv/boards /root/grafana-* /root/token; userdel grafana; systemctl daemon-reload"
)


@pytest.fixture(scope="module")
def pillar(cluster: Cluster) -> Iterator[Pillar]:
    of_lab = Pillar(cluster)
    yield of_lab
    of_lab.restore()
    cluster.lab.exec("head", ["bash", "-c", GONE])


@pytest.fixture(scope="module")
def own(cluster: Cluster, pillar: Pillar) -> dict[str, Any]:
    """The keys by which ours is installed from a file."""
    path, checksum = grafana_package.build(cluster, "13.0.0")
    return {"enabled": True, "package_file": path, "package_sha256": checksum, "start_timeout": 30}


def process(cluster: Cluster) -> str:
    return cluster.shell("head", "systemctl show -P MainPID grafana-server")


def ask(cluster: Cluster, path: str, prefix: str = "") -> Any:
    password = cluster.shell("head", f"cat {SECRETS[0]}")
    status, text = cluster.lab.http(f"http://127.0.0.1:3000{prefix}{path}", "-u", f"admin:{password}")
    assert status == 200, text
    return json.loads(text)


def boards(cluster: Cluster, prefix: str = "") -> dict[str, Any]:
    return {uid: one for uid, one in ask(cluster, "/api/boards", prefix).items() if uid in UIDS}


def test_a_file_with_another_checksum_is_refused(cluster: Cluster, pillar: Pillar, own: dict[str, Any]) -> None:
    pillar.set(grafana={**own, "package_sha256": "0" * 64})
    steps, code = apply(cluster, SLS)
    assert (f"has the SHA-256 {own['package_sha256']}, not 000" in "".join(failed(steps)), code) == (True, 1)
    assert changed(steps) == []


def test_in_test_mode_it_says_what_it_would_do_and_does_nothing(
    cluster: Cluster, pillar: Pillar, own: dict[str, Any]
) -> None:
    pillar.set(grafana=own)
    before = cluster.shell("head", f"{EVERYTHING} 2>&1 || true")
    steps, _ = apply(cluster, SLS, test=True)
    assert failed(steps) == []
    assert {"Install Grafana", "Make the secrets of Grafana", "Write the dashboards", STARTED} <= set(changed(steps))
    assert cluster.shell("head", f"{EVERYTHING} 2>&1 || true") == before


def test_it_comes_up_with_dashboards_and_twice_is_once(cluster: Cluster, pillar: Pillar, own: dict[str, Any]) -> None:
    pillar.set(grafana=own)
    steps, code = apply(cluster, SLS)
    assert (failed(steps), code) == ([], 0)
    said = json.dumps(steps)
    for path in SECRETS:
        assert cluster.shell("head", f"stat -c '%U:%G %a' {path}") == "root:grafana 640"
        secret = cluster.shell("head", f"cat {path}")
        assert len(secret) > 40
        assert secret not in said
        assert cluster.shell("head", f"grep -rlF {secret} /etc/grafana /var/cache/salt /var/log || true") == ""
    cluster.wait("the dashboards", lambda: set(boards(cluster)) == UIDS)
    assert {one["folderUid"] for one in boards(cluster).values()} == {"superpod-dcgm"}
    (source,) = ask(cluster, "/api/sources").values()
    interval = yaml.safe_load(pillar.original)["dcgm"]["prometheus"]["scrape_interval"]
    assert (source["url"], source["jsonData"]["timeInterval"]) == ("http://127.0.0.1:9090", interval)
    assert cluster.shell("head", "ss -Hltn 'sport = :3000' | awk '{print $4}'") == "127.0.0.1:3000"
    assert cluster.lab.http("http://127.0.0.1:3000/api/boards")[0] == 401
    assert cluster.shell("head", "systemctl is-enabled grafana-server") == "enabled"
    before = cluster.shell("head", EVERYTHING)
    for test in (True, False):
        steps, _ = apply(cluster, SLS, test=test)
        assert (changed(steps), failed(steps)) == ([], [])
    assert cluster.shell("head", EVERYTHING) == before


def test_a_dashboard_is_replaced_in_place_without_a_restart(cluster: Cluster, pillar: Pillar) -> None:
    before, pid = boards(cluster), process(cluster)
    # As an image has it: an old file, with a time of the seventies.
    cluster.shell("head", f"sed -i 's/SuperPOD Single job/Old/' {BOARDS}/superpod-job.json")
    cluster.wait("the old one", lambda: boards(cluster)["superpod-job"]["title"] == "Old")
    cluster.shell("head", f"touch -d @1 {BOARDS}/superpod-*.json")
    steps, _ = apply(cluster, SLS)
    assert changed(steps) == ["Write the dashboards"]
    assert int(cluster.shell("head", f"stat -c %Y {BOARDS}/superpod-node.json")) > 1_000_000_000
    cluster.wait("the new one", lambda: boards(cluster)["superpod-job"]["title"] == "SuperPOD Single job")
    assert {uid: one["id"] for uid, one in boards(cluster).items()} == {uid: one["id"] for uid, one in before.items()}
    assert process(cluster) == pid


def test_another_data_source_is_read_without_a_restart(cluster: Cluster, pillar: Pillar, own: dict[str, Any]) -> None:
    pid = process(cluster)
    pillar.set(grafana={**own, "data_source": {"url": "http://mon-02:9090"}})
    steps, _ = apply(cluster, SLS)
    assert failed(steps) == []
    (source,) = ask(cluster, "/api/sources").values()
    assert (source["url"], process(cluster)) == ("http://mon-02:9090", pid)
    pillar.set(grafana=own)
    apply(cluster, SLS)


def test_a_file_of_others_with_our_uid_stops_it_before_it_writes(cluster: Cluster, pillar: Pillar) -> None:
    cluster.shell("head", SITE)
    cluster.shell("head", f"cp {BOARDS}/superpod-job.json /srv/boards/copy.json; touch {BOARDS}/superpod-job.json")
    cluster.shell("head", f"echo ' ' >> {BOARDS}/superpod-job.json")
    before = cluster.shell("head", f"sha256sum {BOARDS}/* /srv/boards/*")
    steps, _ = apply(cluster, SLS)
    assert "/srv/boards/copy.json has the uid of our dashboard 'SuperPOD Single job'" in "".join(failed(steps))
    assert cluster.shell("head", f"sha256sum {BOARDS}/* /srv/boards/*") == before
    cluster.shell("head", "rm /srv/boards/copy.json")
    assert failed(apply(cluster, SLS)[0]) == []


def test_an_upgrade_keeps_secrets_files_and_data(cluster: Cluster, pillar: Pillar, own: dict[str, Any]) -> None:
    path, checksum = grafana_package.build(cluster, "13.0.1")
    sums = f"sha256sum {' '.join(SECRETS)} /etc/grafana/grafana.ini"
    before, ids = cluster.shell("head", sums), {one["id"] for one in boards(cluster).values()}
    own.update(package_file=path, package_sha256=checksum)
    pillar.set(grafana=own)
    steps, _ = apply(cluster, SLS)
    assert (failed(steps), changed(steps)) == ([], ["Install Grafana"])
    assert cluster.shell("head", "dpkg-query -W -f '${Version}' grafana") == "13.0.1"
    assert (cluster.shell("head", sums), {one["id"] for one in boards(cluster).values()}) == (before, ids)
    assert changed(apply(cluster, SLS)[0]) == []


def test_one_that_does_not_come_up_goes_back_to_what_did(cluster: Cluster, pillar: Pillar, own: dict[str, Any]) -> None:
    pillar.set(
        grafana={**own, "settings": {"server": {"http_addr2": "x"}}, "address": "203.0.113.1", "start_timeout": 5}
    )
    steps, code = apply(cluster, SLS)
    (sentence,) = failed(steps)
    assert "grafana-server.service" in sentence
    assert sentence.endswith("It runs as before, by what it last ran by")
    assert (code, set(boards(cluster))) == (1, UIDS)


def test_it_serves_by_tls_below_a_path(cluster: Cluster, pillar: Pillar, own: dict[str, Any]) -> None:
    pair = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=mon -keyout /etc/grafana/key -out /etc/grafana/crt"
    )
    cluster.shell("head", f"umask 077; {pair} 2>&1; chgrp grafana /etc/grafana/key; chmod 640 /etc/grafana/key")
    cluster.shell("head", "chmod 644 /etc/grafana/crt")
    tls = {"tls": {"certificate": "/etc/grafana/crt", "key": "/etc/grafana/key"}}
    pillar.set(grafana={**own, **tls, "root_url": "https://mon/grafana/"})
    steps, _ = apply(cluster, SLS)
    assert failed(steps) == []
    assert cluster.lab.http("https://127.0.0.1:3000/grafana/api/health", "--insecure")[0] == 200
    assert changed(apply(cluster, SLS)[0]) == []
    pillar.set(grafana=own)
    assert failed(apply(cluster, SLS)[0]) == []


def test_removed_it_leaves_data_secrets_and_what_others_put_there(
    cluster: Cluster, pillar: Pillar, own: dict[str, Any]
) -> None:
    cluster.shell("head", f"{SITE}echo '{THEIRS}' > {BOARDS}/mine.json")
    theirs = (
        f"sha256sum /srv/boards/* {BOARDS}/mine.json /etc/grafana/provisioning/dashboards/site.yaml {' '.join(SECRETS)}"
    )
    before = cluster.shell("head", theirs)
    there = cluster.shell("head", EVERYTHING)
    steps, _ = apply(cluster, "dcgm.grafana.clean", test=True)
    assert changed(steps) == ["Remove grafana-server.service"]
    assert cluster.shell("head", EVERYTHING) == there
    steps, _ = apply(cluster, "dcgm.grafana.clean")
    assert failed(steps) == []
    assert cluster.shell("head", theirs) == before
    assert cluster.shell("head", "cat /etc/grafana/grafana.ini") == grafana_package.INI.format("13.0.1").strip()
    assert cluster.shell("head", "systemctl is-active grafana-server || true") == "inactive"
    assert cluster.shell("head", f"ls {BOARDS}") == "mine.json"
    assert changed(apply(cluster, "dcgm.grafana.clean")[0]) == []
    cluster.shell("head", f"rm {BOARDS}/mine.json")


def test_a_grafana_of_others_on_the_host_is_not_taken_over(
    cluster: Cluster, pillar: Pillar, own: dict[str, Any]
) -> None:
    cluster.shell("head", "echo '[server]' >> /etc/grafana/grafana.ini")
    pillar.set(grafana=own)
    before = cluster.shell("head", EVERYTHING)
    steps, _ = apply(cluster, SLS)
    assert "/etc/grafana/grafana.ini was changed by somebody" in "".join(failed(steps))
    assert cluster.shell("head", EVERYTHING) == before


def test_one_of_others_gets_what_it_lacks_and_loses_it_again(cluster: Cluster, pillar: Pillar) -> None:
    fake = Path(fake_grafana.__file__).read_text()
    cluster.lab.exec("head", ["tee", "/root/fake_grafana.py"], check=True, input=fake)
    cluster.shell("head", "umask 077; echo glsa_editor > /root/token")
    cluster.shell("head", "systemd-run --quiet --collect --unit=lab-fake python3 /root/fake_grafana.py 3001 13")
    address = "http://127.0.0.1:3001"
    cluster.wait("the fake", lambda: cluster.lab.http(f"{address}/api/health")[0] == 200)
    try:
        empty = cluster.lab.http(f"{address}/fake/things")[1]
        pillar.set(grafana={"enabled": True, "mode": "existing", "url": address, "token_file": "/root/token"})
        steps, _ = apply(cluster, SLS, test=True)
        assert (failed(steps), cluster.lab.http(f"{address}/fake/things")[1]) == ([], empty)
        steps, code = apply(cluster, SLS)
        assert (failed(steps), code) == ([], 0)
        assert "glsa_editor" not in json.dumps(steps)
        assert set(json.loads(cluster.lab.http(f"{address}/fake/things")[1])[1]) == UIDS
        assert changed(apply(cluster, SLS)[0]) == []
        # Nobody wants it any more: the states for Prometheus take it away.
        pillar.restore()
        steps, _ = apply(cluster, "dcgm.prometheus")
        assert "Remove what was put into a Grafana of others" in changed(steps)
        assert cluster.lab.http(f"{address}/fake/things")[1] == empty
    finally:
        cluster.shell("head", "systemctl stop lab-fake; rm -f /root/fake_grafana.py")
