#!/usr/bin/env bash
# Builds the disk of the lab's machines (Debian trixie, Slurm, Prometheus 2 and 3, Salt, the lab's libdcgm) in DIRECTORY.
# usage: build.sh DIRECTORY CA-BUNDLE   (as root, in a mount namespace of its own; lines that begin with "==> " are progress)
set -euo pipefail

root=$1
bundle=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

step() { printf '==> %s\n' "$*"; }

inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PIP_CERT=/tmp/ca.pem PIP_DISABLE_PIP_VERSION_CHECK=1 \
        PIP_NO_CACHE_DIR=1 ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} ${HTTPS_PROXY:+HTTPS_PROXY="$HTTPS_PROXY"} \
        ${https_proxy:+https_proxy="$https_proxy"} chroot "$root" "$@"
}

# libmount, which mmdebstrap calls, leaves /run/mount: here it is in a /run of our own. The host's resolver may be found through /run.
resolver=$(cat /etc/resolv.conf)
mount -n -t tmpfs -o mode=755 tmpfs /run
resolver_file=$(readlink -m /etc/resolv.conf)
if [ ! -e "$resolver_file" ]; then
    mkdir -p "${resolver_file%/*}"
    printf '%s\n' "$resolver" > "$resolver_file"
fi

packages=$(grep -v '^#' "$here/packages.txt" | paste -sd,)
# Debian's archive key lies here because older Ubuntu releases do not know it. A site with a mirror of its own sets SUPERPOD_DEBIAN_MIRROR.
step "Debian trixie with $(tr ',' '\n' <<<"$packages" | wc -l) packages"
mmdebstrap --mode=root --variant=minbase --components=main --include="$packages" \
    --keyring="$here/debian-trixie.gpg" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/javascript/moment-timezone/data/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --aptopt='Acquire::Retries "3"' \
    trixie "$root" ${SUPERPOD_DEBIAN_MIRROR:+"$SUPERPOD_DEBIAN_MIRROR"}

# Only the two programs, beside the distribution's. The archive of a testing release has a date of expiry, which the copy of a mirror may have passed.
step "Prometheus 3 from Debian forky"
forky=$root/tmp/forky
# mmdebstrap, not this script, expands the hook's variables.
# shellcheck disable=SC2016
mmdebstrap --mode=root --variant=custom --components=main --keyring="$here/debian-trixie.gpg" \
    --aptopt='Acquire::Retries "3"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --extract-hook='cd "$1" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download prometheus promtool' \
    forky "$forky" ${SUPERPOD_DEBIAN_MIRROR:+"$SUPERPOD_DEBIAN_MIRROR"}
for package in "$forky"/*.deb; do
    dpkg-deb --extract "$package" "$forky/found"
done
install -D -m 755 -t "$root/opt/prometheus-3/bin" "$forky/found/usr/bin/prometheus" "$forky/found/usr/bin/promtool"
rm -rf "$forky"

step "Salt from the pinned requirements"
install -m 644 "$bundle" "$root/tmp/ca.pem"
install -m 644 "$here/requirements.txt" "$root/tmp/requirements.txt"
cat /etc/resolv.conf > "$root/etc/resolv.conf"
cat /etc/hosts > "$root/etc/hosts"
mount -n -t proc proc "$root/proc"
inside python3 -m venv /opt/salt
inside /opt/salt/bin/pip install --quiet --require-hashes -r /tmp/requirements.txt
for tool in salt salt-call salt-cp salt-key salt-master salt-minion salt-run; do
    ln -s "/opt/salt/bin/$tool" "$root/usr/bin/$tool"
done
inside useradd --system --home-dir /opt/salt --shell /usr/sbin/nologin salt
inside useradd --create-home --shell /bin/bash alice
inside install -d -o root -g root -m 755 /etc/salt/master.d /etc/salt/minion.d /etc/slurm /cm/shared /srv
inside install -d -o slurm -g slurm -m 755 /var/log/slurm /var/spool/slurmctld /var/spool/slurmd
inside install -d -o salt -g salt -m 750 /etc/salt/pki/master /var/cache/salt/master
inside install -d -o salt -g salt -m 755 /var/log/salt

step "libdcgm and libnvidia-ml of the lab"
cp -r "$here/../libdcgm" "$root/tmp/libdcgm"
inside make --silent -C /tmp/libdcgm OUT=/tmp/libdcgm install
umount "$root/proc"

step "Nothing starts by itself and no machine has an identity yet"
for unit in munge slurmd slurmctld prometheus prometheus-node-exporter prometheus-alertmanager rsync 'victoria-metrics*' 'vm*'; do
    find "$root/etc/systemd/system" -name "$unit.service" -delete
done
find "$root/etc/systemd/system" -path '*.wants/*' \( -name 'apt-*' -o -name 'dpkg-db-backup*' -o -name 'e2scrub*' -o -name 'fstrim*' \) -delete
ln -sf /dev/null "$root/etc/systemd/system/systemd-timesyncd.service"
: > "$root/etc/machine-id"
: > "$root/etc/resolv.conf"
rm -rf "$root/etc/munge/munge.key" "$root/etc/hostname" "$root/etc/hosts" "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* \
    "$root/tmp/ca.pem" "$root/tmp/requirements.txt" "$root/tmp/libdcgm" "$root"/var/log/*.log
find "$root/opt/salt" -name '*.a' -delete
step "done"
