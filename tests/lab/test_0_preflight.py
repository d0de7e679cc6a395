"""A machine that cannot run the lab is told so in one sentence, and nothing on it is changed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[2] / "setup.sh"
# An ordinary user's machine: a copy of the script that he may read, and no sudo on his path.
WITHOUT_SUDO = """
mount -n -t tmpfs none /mnt
cp "$SETUP" /mnt/setup.sh
mkdir /mnt/bin
for tool in bash env id cat python3 dirname; do ln -s "$(command -v "$tool")" /mnt/bin/; done
PATH=/mnt/bin /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups /mnt/setup.sh lab
"""
OTHER_RELEASE = """
printf 'ID=fedora\\nVERSION_ID=43\\n' > "$TMP/release"
mount -n --bind "$TMP/release" /etc/os-release
"$SETUP" lab
"""
FULL_DISK = """
mount -n -t tmpfs -o size=9m none "$TMP"
export SUPERPOD_LAB_STATE="$TMP/a" SUPERPOD_LAB_CACHE="$TMP/b"
"$SETUP" lab
"""
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a script in a mount namespace of its own, where it takes something away and then runs setup.sh."""

    def run(script: str) -> subprocess.CompletedProcess[str]:
        home = tmp_path / "home"
        home.mkdir()
        environment = {
            "PATH": SYSTEM,
            "HOME": str(home),
            "TMP": str(home),
            "SETUP": str(SETUP),
            "SUPERPOD_VENV": str(tmp_path / "venv"),
            "SUPERPOD_LAB_STATE": str(tmp_path / "state"),
            "SUPERPOD_LAB_CACHE": str(tmp_path / "cache"),
        }
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-euc", script]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert [path.name for path in tmp_path.iterdir()] == ["home"]
        return done

    return run


CASES = {
    "another distribution": (
        OTHER_RELEASE,
        "The lab needs Debian 12 or 13 or Ubuntu 22.04 or 24.04, and this is fedora-43.",
    ),
    "neither root nor sudo": (
        WITHOUT_SUDO,
        "The lab needs root, and there is no sudo on this machine: run this as root.",
    ),
    "a container without CAP_SYS_ADMIN": (
        'setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$SETUP" lab',
        "The lab needs systemd-nspawn, which cannot run here: this is a container without CAP_SYS_ADMIN.",
    ),
    "no cgroup2 file system": (
        'umount -n -R -l /sys/fs/cgroup; "$SETUP" lab',
        "The lab needs a cgroup2 file system in which it may make groups, and this machine has none.",
    ),
    "a cgroup2 file system that may only be read": (
        'umount -n -R -l /sys/fs/cgroup; mount -n -t cgroup2 -o ro none /sys/fs/cgroup; "$SETUP" lab',
        "The lab needs a cgroup2 file system in which it may make groups, and this machine has none.",
    ),
    "a full disk": (
        FULL_DISK,
        "The lab needs 4000 MB of disk space at",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_lacking_is_said_in_one_sentence(
    attempt: Callable[[str], subprocess.CompletedProcess[str]], case: str
) -> None:
    script, sentence = CASES[case]
    done = attempt(script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {sentence}")
    assert len(done.stderr.splitlines()) == 1
