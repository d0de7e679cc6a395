"""Prometheus' data is refused on file systems of the network, whichever way they are mounted."""

from __future__ import annotations

from pathlib import Path

import pytest
from superpod_dcgm.monitoring import disk, ownership

MOUNTS = """\
overlay / overlay rw,relatime 0 0
proc /proc proc rw 0 0
/dev/sda2 /var ext4 rw 0 0
nas:/export/home /home nfs4 rw,vers=4.2 0 0
nas:/prom /srv/prom\\040data nfs rw 0 0
systemd-1 /mnt/auto autofs rw 0 0
nas:/auto /mnt/auto nfs4 rw 0 0
10.0.0.1@tcp:/lus /scratch lustre rw 0 0
//win/share /mnt/win cifs rw 0 0
sshfs#x /mnt/ssh fuse.sshfs rw 0 0
/dev/sdb1 /scratch/local xfs rw 0 0
nas:/hidden /cover nfs rw 0 0
/dev/sdc1 /cover ext4 rw 0 0
gpfs0 /gpfs gpfs rw 0 0
"""
# directory: kind of the network file system that it is refused for
DIRECTORIES = {
    "/var/lib/superpod-prometheus": "",
    "/home/prometheus": "nfs4",
    "/homes/prometheus": "",
    "/srv/prom data/x": "nfs",
    "/mnt/auto/x": "nfs4",
    "/scratch/x": "lustre",
    "/scratch/local/x": "",
    "/mnt/win/x": "cifs",
    "/mnt/ssh/x": "fuse.sshfs",
    "/cover/x": "",
    "/gpfs/x": "gpfs",
    "/opt/x": "",
}


@pytest.mark.parametrize(("directory", "kind"), DIRECTORIES.items())
def test_a_directory_on_the_network_is_refused_with_the_reason(directory: str, kind: str) -> None:
    sentence = disk.obstacle(directory, MOUNTS)
    assert bool(sentence) == bool(kind)
    if kind:
        assert sentence.startswith(f"dcgm:prometheus:data: {directory} lies on {kind} (")
        assert sentence.endswith("give it a directory on a local disk of this machine")


def test_a_link_to_the_network_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    mounts = f"/dev/sda / ext4 rw 0 0\nnas:/x {tmp_path}/disk nfs4 rw 0 0\n"
    assert "lies on nfs4 (nas:/x" in disk.obstacle(f"{tmp_path}/link/data", mounts)


def test_this_machine_is_asked_and_nothing_is_known_of_a_local_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert disk.obstacle(str(tmp_path)) == ""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"nas:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(disk, "_MOUNTS", str(mounts))
    wanted = ownership.Wanted(1, f"{tmp_path}/data", f"{tmp_path}/p.yml", "/bin/true", (), "prometheus.service")
    assert any("lies on nfs4" in sentence for sentence in ownership.obstacles(wanted))
