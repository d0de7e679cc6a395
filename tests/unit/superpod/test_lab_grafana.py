"""A Grafana package for the lab: it is a package, lies where the head finds it, and stands in the pillar."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from superpod.errors import SuperpodError
from superpod.lab import deployment, grafana
from superpod.lab.layout import CONFIG


def pillar(section: str) -> dict:
    text = deployment.render((CONFIG / "pillar/dcgm.sls").read_text(), {"grafana": section, "build_environment": "{}"})
    return yaml.safe_load(text.replace("@", ""))["dcgm"]["grafana"]


def test_a_package_is_copied_and_named_with_its_sum(tmp_path: Path) -> None:
    package = tmp_path / "grafana_13.0.0_amd64.deb"
    package.write_bytes(b"!<arch>\ndebian-binary   and so on")
    found = pillar(grafana.offer(tmp_path / "shared", package))
    copy = tmp_path / "shared/lab/grafana.deb"
    assert copy.read_bytes() == package.read_bytes()
    assert found["package_sha256"] == hashlib.sha256(package.read_bytes()).hexdigest()
    assert (found["enabled"], found["package_file"], found["address"]) == (True, "/cm/shared/lab/grafana.deb", "")


@pytest.mark.parametrize("text", ["", "PK", "<html>not found</html>"])
def test_what_is_no_package_is_refused_before_anything_is_made(tmp_path: Path, text: str) -> None:
    package = tmp_path / "grafana.deb"
    package.write_text(text)
    with pytest.raises(SuperpodError, match=r"grafana\.deb is no Debian package"):
        grafana.offer(tmp_path / "shared", package)
    assert not (tmp_path / "shared").exists()


def test_a_lab_without_one_has_no_grafana() -> None:
    assert pillar(grafana.NONE) == {"enabled": False}
