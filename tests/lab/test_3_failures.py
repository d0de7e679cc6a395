"""What goes wrong is said with its reason, and leaves binary and service as they were."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from product import FOLLOWING, Applied, Cluster

pytestmark = pytest.mark.usefixtures("deployed")
BROKEN_BUILD, BROKEN_SERVE = "4.5.3-4.8.2-lab1", "4.5.3-4.8.2-lab2"


def commit(cluster: Cluster, release: str) -> str:
    return cluster.shell("head", f"git -C /cm/shared/lab/upstream/dcgm-exporter.git rev-parse '{release}^{{commit}}'")


def apply(cluster: Cluster, exporter: dict[str, Any], **others: Any) -> Applied:
    return cluster.apply("dgx-01", pillar={"dcgm": {"exporter": {"start_timeout": 5, **exporter}, **others}})


@pytest.fixture
def unharmed(cluster: Cluster) -> Any:
    """The release, the process and the files of the exporter are the same after the test."""

    def look() -> list[str]:
        files = "readlink /opt/dcgm-exporter/current; sha256sum /usr/bin/dcgm-exporter /etc/dcgm-exporter/*"
        return [cluster.started("dgx-01"), cluster.shell("dgx-01", files)]

    before = look()
    yield
    assert look() == before
    assert cluster.metrics("dgx-01")
    assert "/opt/dcgm-exporter-deployment" not in cluster.places("dgx-01")


@pytest.mark.usefixtures("unharmed")
def test_a_build_that_fails_says_why(cluster: Cluster) -> None:
    applied = apply(cluster, {"release": BROKEN_BUILD, "commit": commit(cluster, BROKEN_BUILD)})
    assert applied.code != 0
    (reason,) = applied.failed("dgx-01").values()
    assert "make binary: exit code 2" in reason
    assert "undefinedOnPurpose" in reason


@pytest.mark.usefixtures("unharmed")
def test_a_tag_that_points_elsewhere_is_not_built(cluster: Cluster) -> None:
    applied = apply(cluster, {"release": BROKEN_SERVE, "commit": "0" * 40})
    assert applied.code != 0
    (reason,) = applied.failed("dgx-01").values()
    assert f"points to commit {commit(cluster, BROKEN_SERVE)}, not to {'0' * 40}" in reason


@pytest.mark.usefixtures("unharmed")
def test_an_unreachable_source_is_named(cluster: Cluster) -> None:
    source = {"url": "https://git.example.com/dcgm-exporter.git"}
    applied = apply(cluster, {"release": "4.5.2-4.8.1", "commit": "1" * 40, "source": source})
    assert applied.code != 0
    (reason,) = applied.failed("dgx-01").values()
    assert "git.example.com" in reason


@pytest.mark.usefixtures("unharmed")
def test_a_go_archive_with_a_wrong_checksum_is_refused(cluster: Cluster) -> None:
    go = {"directory": "/opt/other-dcgm-go", "sha256": {"amd64": "0" * 64}}
    applied = apply(cluster, {"release": "4.5.2-4.8.1", "commit": commit(cluster, "4.5.2-4.8.1")}, go=go)
    assert applied.code != 0
    assert any("0" * 64 in reason for reason in applied.failed("dgx-01").values())
    assert cluster.shell("dgx-01", "ls /opt/other-dcgm-go/*/go/bin/go 2>/dev/null || true") == ""


@pytest.mark.usefixtures("unharmed")
def test_the_distributions_go_is_refused_when_it_is_too_old_or_missing(cluster: Cluster) -> None:
    script = "#!/bin/sh\necho go version go1.22.2 linux/amd64\n"
    cluster.lab.exec("dgx-01", ["tee", "/usr/bin/go"], check=True, input=script)
    cluster.shell("dgx-01", "chmod 755 /usr/bin/go")
    try:
        release = {"release": "4.5.2-4.8.1", "commit": commit(cluster, "4.5.2-4.8.1")}
        applied = apply(cluster, release, go={"method": "package", "packages": ["git"]})
    finally:
        cluster.shell("dgx-01", "rm /usr/bin/go")
    assert applied.code != 0
    (reason,) = applied.failed("dgx-01").values()
    assert "Go 1.22.2; this release needs 1.24.0 or newer" in reason


@pytest.mark.usefixtures("unharmed")
def test_an_artifact_that_was_tampered_with_is_not_installed(cluster: Cluster) -> None:
    folder = "/cm/shared/apps/dcgm-exporter/artifacts/9.9.9-9.9.9/linux-amd64"
    copy = "cp -a /cm/shared/apps/dcgm-exporter/artifacts/4.5.3-4.8.2/linux-amd64/."
    cluster.shell("head", f"mkdir -p {folder} && {copy} {folder} && echo x >> {folder}/dcgm-exporter")
    try:
        applied = apply(cluster, {"release": "9.9.9-9.9.9", "method": "artifact"})
    finally:
        cluster.shell("head", "rm -r /cm/shared/apps/dcgm-exporter/artifacts/9.9.9-9.9.9")
    assert applied.code != 0
    (reason,) = applied.failed("dgx-01").values()
    assert "SHA-256" in reason and "not used" in reason


@pytest.mark.usefixtures("unharmed")
def test_bad_settings_stop_before_anything_is_changed(cluster: Cluster) -> None:
    applied = apply(cluster, {"port": "9400", "prot": 1})
    assert applied.code != 0
    text = json.dumps(applied.answers["dgx-01"])
    assert "dcgm:exporter:port: '9400' is not allowed; it must be a whole number from 1 to 65535" in text
    assert "dcgm:exporter:prot: unknown key (did you mean port?)" in text


def test_a_release_that_does_not_answer_is_taken_back_and_the_state_fails(cluster: Cluster) -> None:
    before = cluster.shell("dgx-01", "readlink /opt/dcgm-exporter/current")
    applied = apply(cluster, {"release": BROKEN_SERVE, "commit": commit(cluster, BROKEN_SERVE)})
    assert applied.code != 0
    reason = applied.failed("dgx-01")[FOLLOWING]
    assert "answers 500" in reason
    assert f"Release {before} and its configuration were put back and answer" in reason
    assert cluster.shell("dgx-01", "readlink /opt/dcgm-exporter/current") == before
    assert cluster.metrics("dgx-01")


def test_a_setting_with_which_it_does_not_start_is_taken_back(cluster: Cluster) -> None:
    before = cluster.shell("dgx-01", "cat /etc/dcgm-exporter/exporter.env")
    applied = apply(cluster, {"environment": {"DCGM_EXPORTER_INTERVAL": "soon"}})
    assert applied.code != 0
    assert "were put back and answer" in applied.failed("dgx-01")[FOLLOWING]
    assert cluster.shell("dgx-01", "cat /etc/dcgm-exporter/exporter.env") == before
    assert cluster.metrics("dgx-01")


@pytest.mark.usefixtures("unharmed")
def test_another_program_on_the_port_is_not_taken_for_the_exporter_and_named(cluster: Cluster) -> None:
    unit = "systemd-run --quiet --unit=squatter --property=WorkingDirectory=/tmp"
    cluster.shell(
        "dgx-01",
        f"mkdir -p /tmp/squat && echo up 1 > /tmp/squat/metrics && {unit} python3 -m http.server -d /tmp/squat 9500",
    )
    try:
        cluster.wait("it answers", lambda: cluster.lab.http("http://dgx-01:9500/metrics")[0] == 200)
        applied = apply(cluster, {"port": 9500})
    finally:
        cluster.shell("dgx-01", "systemctl stop squatter; rm -r /tmp/squat")
    assert applied.code != 0
    words = r"dcgm:exporter:port 9500 is held by \S*python3\S* \(process \d+ of squatter\.service\)"
    assert re.search(words, applied.failed("dgx-01")["Check that no other exporter is in the way"])


def test_the_exporter_survives_its_engine(cluster: Cluster) -> None:
    cluster.shell("dgx-01", "systemctl stop nvidia-dcgm")
    cluster.wait("no metrics", lambda: cluster.lab.http("http://dgx-01:9400/metrics")[0] != 200)
    cluster.shell("dgx-01", "systemctl start nvidia-dcgm")
    cluster.wait("metrics again", lambda: cluster.lab.http("http://dgx-01:9400/metrics")[0] == 200)


def test_an_apply_repairs_what_a_hand_changed(cluster: Cluster) -> None:
    cluster.shell("dgx-01", "systemctl stop dcgm-exporter; echo garbage > /opt/dcgm-exporter/current/dcgm-exporter")
    cluster.apply("dgx-01").succeeded()
    assert cluster.metrics("dgx-01")
