#!/usr/bin/env bash
# Unpacks Debian trixie's Chromium, with all that it needs and two fonts, into DIRECTORY. Nothing of it is installed on this machine.
# usage: build.sh DIRECTORY   (as root, in a mount namespace of its own; lines that begin with "==> " are progress)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# libmount, which mmdebstrap calls, leaves /run/mount: here it is in a /run of our own. The host's resolver may be found through /run.
resolver=$(cat /etc/resolv.conf)
mount -n -t tmpfs -o mode=755 tmpfs /run
resolver_file=$(readlink -m /etc/resolv.conf)
if [ ! -e "$resolver_file" ]; then
    mkdir -p "${resolver_file%/*}"
    printf '%s\n' "$resolver" > "$resolver_file"
fi

printf '==> %s\n' "Chromium from Debian trixie, in a tree of its own (once; about 140 MB)"
mmdebstrap --mode=root --variant=minbase --components=main --include=chromium-headless-shell,fonts-dejavu-core,fonts-inter \
    --keyring="$here/../image/debian-trixie.gpg" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --aptopt='Acquire::Retries "3"' \
    trixie "$1" ${SUPERPOD_DEBIAN_MIRROR:+"$SUPERPOD_DEBIAN_MIRROR"}
