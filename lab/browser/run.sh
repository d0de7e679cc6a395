#!/usr/bin/env bash
# Runs a Chromium as nobody in a root directory, with a /tmp of its own that has the page; ours are the mounts, not the machine's.
# usage: run.sh ROOT PAGE|'' COMMANDS ANSWERS PROGRAM OPTION…   (as root, in namespaces of its own; COMMANDS and ANSWERS are open pipes)
set -euo pipefail

root=${1%/}
page=$2
commands=$3
answers=$4
shift 4

content=/dev/null
[ -z "$page" ] || content=$page
exec {content}<"$content"
if [ -n "$root" ]; then
    mount -n -t proc proc "$root/proc"
    mount -n --rbind /dev "$root/dev"
fi
mount -n -t tmpfs -o mode=1777 tmpfs "$root/tmp"
[ -z "$page" ] || cat <&"$content" > "$root/tmp/page.html"
[ -z "$page" ] || chmod 644 "$root/tmp/page.html"
exec {content}<&-
# Chromium reads commands from 3 and writes answers to 4.
exec {commands}<&"$commands" {answers}>&"$answers"
exec 3<&"$commands" 4>&"$answers"
# Not by exec: whoever changes its user outlives the end of its parent. The end of this script, number 1 here, ends all.
chroot --userspec=65534:65534 "$root/" /usr/bin/env -i HOME=/tmp PATH=/usr/bin:/bin LANG=C.UTF-8 TZ=UTC "$@"
exit
