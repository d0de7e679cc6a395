#!/usr/bin/env bash
# Installs what this project's command line needs on this machine, says what it does, and hands over to it (package superpod).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${SUPERPOD_VENV:-$here/.venv}
# What sudo keeps of the environment: where to look for packages, and what tests and lab are told.
kept=CI,TERM,NO_COLOR,SUPERPOD_LAB,SUPERPOD_LAB_CACHE,SUPERPOD_LAB_STATE,SUPERPOD_DEBIAN_MIRROR,SSL_CERT_FILE,PIP_CERT
kept+=,PIP_INDEX_URL,PIP_EXTRA_INDEX_URL,PIP_FIND_LINKS,http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY
kept+=,NPM_CONFIG_REGISTRY,npm_config_registry,NODE_EXTRA_CA_CERTS,GOPROXY,GOSUMDB,GOPRIVATE,GONOPROXY,GONOSUMDB

say() { printf '%s\n' "$*"; }

die() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo --preserve-env="$kept" -- "$@"
    fi
}

# True if help is asked for; what stands behind -- belongs to a command on a machine of the lab.
asks_help() {
    local word
    for word in "$@"; do
        case "$word" in
            --) return 1 ;;
            -h | --help) return 0 ;;
        esac
    done
    return 1
}

# What the command line itself says to --help, from the file that `python -m superpod.help` writes: nothing is installed for it.
help_of() {
    local line wanted="== ./setup.sh${1:+ $1}" found=no
    while IFS= read -r line; do
        case "$line" in
            "$wanted") found=yes ;;
            "== "*) [ "$found" = no ] || return 0 ;;
            *) [ "$found" = no ] || say "$line" ;;
        esac
    done <"$here/superpod/help.txt"
    [ "$found" = yes ] || { printf 'Error: There is no command "%s".\n' "$1" >&2 && return 2; }
}

# One sentence for what this machine cannot do, before anything on it is changed.
check_machine() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || die "Python 3.10 or newer (python3) is needed."
    [ "$needs_root" = yes ] || return 0
    local reason
    if ! reason=$(obstacle 2>&1); then
        [ "$1" = test ] || die "${reason#Error: }"
        # The tests say themselves which of them were not run and why.
        needs_root=no
    fi
}

obstacle() {
    case "$distribution" in
        debian-12 | debian-13 | ubuntu-22.04 | ubuntu-24.04) ;;
        *) die "The lab needs Debian 12 or 13 or Ubuntu 22.04 or 24.04, and this is ${distribution:-an unknown system}." ;;
    esac
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        die "The lab needs root, and there is no sudo on this machine: run this as root."
    fi
    [ "$starts_lab" = no ] || as_root env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" python3 -m superpod.lab.preflight
}

missing_packages() {
    local wanted=() package
    python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)
    if [ "$requirements" = requirements-test.txt ]; then
        # Salt needs timelib, of which there is no wheel.
        command -v gcc >/dev/null || wanted+=(gcc libc6-dev)
        python3 -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || wanted+=(python3-dev)
    fi
    if [ "$needs_root" = yes ]; then
        wanted+=(systemd-container mmdebstrap iproute2 util-linux openssl git ca-certificates)
        # mmdebstrap on Ubuntu learns from it that trixie is Debian's.
        [ "${distribution%-*}" != ubuntu ] || wanted+=(distro-info-data)
    fi
    for package in "${wanted[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s\n' "$package"
    done
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        die "These packages are missing, and there is no sudo to install them: ${missing[*]}"
    fi
    say "Installing system packages: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >/dev/null ||
        say "The package lists could not be renewed; trying with those that are there."
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null ||
        die "apt-get could not install ${missing[*]}."
}

# The environment is made again when the pinned requirements or Python change.
make_environment() {
    local requirements=$here/$1 stamp
    stamp="$1 $(sha256sum <"$requirements" | cut -c1-16) $(python3 -c 'import sys; print(sys.version.split()[0])') command"
    grep -qsxF "$stamp" "$venv/superpod.stamp" && return 0
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "Making the virtual environment $venv"
        rm -rf "$venv"
        python3 -m venv "$venv" || die "The virtual environment $venv could not be made."
    fi
    say "Installing the pinned requirements of $1 ($(grep -c '^[a-zA-Z]' "$requirements") packages)"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$requirements" ||
        die "pip could not install $1."
    "$venv/bin/python" -c 'import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "superpod-checkout.pth").write_text(sys.argv[1] + "\n")' "$here"
    # The command by itself, for a link in PATH.
    printf '#!%s -IB\nfrom superpod.cli import main\n\nmain(prog_name="superpod")\n' "$venv/bin/python" >"$venv/bin/superpod"
    chmod 755 "$venv/bin/superpod"
    printf '%s\n' "$stamp" >>"$venv/superpod.stamp"
}

# Sub-command of `lab`: the first word that is neither an option nor the value of --name.
sub_command() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --name) shift ;;
            -*) ;;
            *) printf '%s' "$1" && return ;;
        esac
        shift
    done
}

needs_root=yes starts_lab=no requirements=requirements.txt
# shellcheck source=/dev/null
distribution=$(. /etc/os-release 2>/dev/null && printf '%s-%s' "${ID:-}" "${VERSION_ID:-}") || distribution=''
case "${1:-}" in
    '' | -h | --help) command='' ;;
    lab) command=$(sub_command "${@:2}") && command="lab${command:+ $command}" ;;
    *) command=$1 ;;
esac
if [ $# -eq 0 ] || asks_help "$@"; then
    help_of "$command"
    exit
fi
case "$command" in
    lab | 'lab up') starts_lab=yes ;;
    'lab '*) ;;
    test) requirements=requirements-test.txt starts_lab=yes ;;
    *) needs_root=no ;;
esac
[[ "$*" != test*" --fast"* ]] || needs_root=no

check_machine "$1"
install_packages
make_environment "$requirements"
case "$command" in
    # Files that these name are meant from where the user is; nothing that lies there is imported.
    job | report | top) exec "$venv/bin/python" -IB -m superpod "$@" ;;
esac
cd "$here"
if [ "$needs_root" = yes ]; then
    [ "$(id -u)" -eq 0 ] || exec sudo --preserve-env="$kept" -- env PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" -m superpod "$@"
fi
exec "$venv/bin/python" -m superpod "$@"
