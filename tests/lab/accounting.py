"""Slurm's accounting on the lab's head: Debian's slurmdbd and MariaDB, unpacked beside what the image has."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from product import Cluster

from superpod.lab import image
from superpod.lab.layout import LAB, cache_dir

SCRIPT = LAB / "accounting/build.sh"
STAMP = ".superpod-lab-accounting"
# On the shared storage of the lab; the database is the head's own.
ROOT, DATA, SOCKET = "/cm/shared/lab/accounting", "/var/lib/lab-accounting", "/run/mysqld/mysqld.sock"
CONF, IDENTITY = "/etc/slurm/slurm.conf", "/var/spool/slurmctld/clustername"
MORE = (
    "AccountingStorageType=accounting_storage/slurmdbd\\nAccountingStorageHost=bcm-01\\nAccountingStorageTRES=gres/gpu"
)
START = rf"""
set -e
libraries=$(echo {ROOT}/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH=$libraries PATH=$PATH:{ROOT}/usr/bin
install -d -o slurm -g slurm {DATA} /run/mysqld
mariadb-install-db --no-defaults --basedir={ROOT}/usr --user=slurm --datadir={DATA}/db --skip-test-db \
  --auth-root-authentication-method=normal > {DATA}/install.log 2>&1 || {{ cat {DATA}/install.log >&2; exit 1; }}
run="systemd-run --quiet --collect --uid=slurm --setenv=LD_LIBRARY_PATH=$libraries"
$run --unit=lab-mariadb {ROOT}/usr/sbin/mariadbd --no-defaults --basedir={ROOT}/usr --datadir={DATA}/db \
  --lc-messages-dir={ROOT}/usr/share/mariadb --socket={SOCKET} --skip-networking --innodb-buffer-pool-size=64M
ask="mariadb --no-defaults -u root -S {SOCKET}"
timeout 60 sh -c "until $ask -e 'select 1'; do sleep 0.2; done" > /dev/null 2>&1
$ask -e "create database slurm_acct_db; \
  create user slurm@localhost identified by 'lab'; grant all on slurm_acct_db.* to slurm@localhost"
install -o slurm -g slurm -m 600 /dev/stdin /etc/slurm/slurmdbd.conf << END
AuthType=auth/munge
DbdHost=bcm-01
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageUser=slurm
StoragePass=lab
StorageLoc=slurm_acct_db
PluginDir=$(echo /usr/lib/*-linux-gnu/slurm-wlm):$libraries/slurm-wlm
LogFile={DATA}/slurmdbd.log
PidFile={DATA}/slurmdbd.pid
END
$run --unit=lab-slurmdbd {ROOT}/usr/sbin/slurmdbd -D
# The controller made an id for its cluster, and starts under no other.
mv {IDENTITY} {DATA}/clustername
cp -p {CONF} {DATA}/slurm.conf
printf '{MORE}\n' >> {CONF}
timeout 60 sh -c 'until sacctmgr -n show cluster; do sleep 0.2; done' > /dev/null 2>&1
sacctmgr -i add cluster superpod
sacctmgr -i add account physics
sacctmgr -i add user alice account=physics
systemctl restart slurmctld
registered='scontrol ping | grep -q UP && sacctmgr -nP show cluster format=ControlHost | grep -q .'
timeout 60 sh -c "until $registered; do sleep 0.2; done"
"""
STOP = f"""
if [ -e {DATA}/slurm.conf ]; then
  cat {DATA}/slurm.conf > {CONF}
  cp -p {DATA}/clustername {IDENTITY}
  systemctl restart slurmctld
fi
systemctl stop lab-slurmdbd lab-mariadb 2> /dev/null
rm -rf {DATA} {ROOT} /etc/slurm/slurmdbd.conf /run/mysqld
"""


def tree(say: Callable[[str], None], log: Path) -> Path:
    """Return the programs' tree, made now if there is none: it is kept beside the images."""
    key = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:12]
    found = cache_dir() / "accounting" / key
    with image.locked(cache_dir() / "accounting.lock"):
        if not (found / STAMP).exists():
            draft = found.with_name(f".{key}.new")
            shutil.rmtree(draft, ignore_errors=True)
            draft.parent.mkdir(parents=True, exist_ok=True)
            image.run_script([str(SCRIPT), str(draft)], log, say, "slurmdbd could not be unpacked")
            (draft / STAMP).touch()
            draft.rename(found)
    return found


def start(cluster: Cluster, log: Path) -> None:
    """Have Slurm account for its jobs."""
    made = tree(cluster.lab.progress, log)
    target = cluster.lab.layout.shared / "lab/accounting"
    shutil.copytree(made, target, symlinks=True, dirs_exist_ok=True)
    cluster.shell("head", START)


def stop(cluster: Cluster) -> None:
    """Leave the head as it was."""
    cluster.shell("head", STOP)
