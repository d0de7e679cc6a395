#!/usr/bin/env bash
# Unpacks Debian trixie's slurmdbd and MariaDB into DIRECTORY, beside what the image of the lab's machines has. Nothing of it is installed.
# usage: build.sh DIRECTORY   (as root, in a mount namespace of its own; lines that begin with "==> " are progress)
set -euo pipefail

target=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
packages=(slurmdbd slurm-wlm-mysql-plugin mariadb-server mariadb-server-core mariadb-client-core mariadb-common libmariadb3
    libaio1t64 libedit2 libbsd0 libmd0 libncurses6 libnuma1 libpcre2-8-0 libsnappy1v5 liburing2)

# libmount, which mmdebstrap calls, leaves /run/mount: here it is in a /run of our own. The host's resolver may be found through /run.
resolver=$(cat /etc/resolv.conf)
mount -n -t tmpfs -o mode=755 tmpfs /run
resolver_file=$(readlink -m /etc/resolv.conf)
if [ ! -e "$resolver_file" ]; then
    mkdir -p "${resolver_file%/*}"
    printf '%s\n' "$resolver" > "$resolver_file"
fi

printf '==> %s\n' "slurmdbd and MariaDB from Debian trixie (once; 13 MB)"
mkdir "$target"
# mmdebstrap, not this script, expands the hook's variables.
# shellcheck disable=SC2016
PACKAGES=${packages[*]} mmdebstrap --mode=root --variant=custom --components=main --keyring="$here/../image/debian-trixie.gpg" \
    --aptopt='Acquire::Retries "3"' \
    --extract-hook='cd "$1" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download $PACKAGES' \
    trixie "$target/packages" ${SUPERPOD_DEBIAN_MIRROR:+"$SUPERPOD_DEBIAN_MIRROR"}
for package in "$target"/packages/*.deb; do
    dpkg-deb --extract "$package" "$target"
done
rm -r "$target/packages"
