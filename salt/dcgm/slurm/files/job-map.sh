#!/bin/bash -p
# Tells dcgm-exporter which Slurm jobs hold which GPU: slurmd runs it as prolog (adds the job) and as epilog (removes it).
#
# One script under two names, since every job reads it over NFS once each way: the word in its file name says what to do.
# It exits 0 whatever happens (anything else drains the node), leaves slurmd's pipe alone, and starts two programs at most:
# flock, and one mv for all GPUs. Problems go to syslog in one line.

trap 'exit 0' EXIT HUP INT TERM
exec </dev/null >/dev/null 2>&1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
IFS=$' \t\r\n'
umask 022
set -f

settings=/etc/dcgm-exporter/job-map.conf
directory='' idle=empty limit=2000
job=${SLURM_JOB_ID-}
problems='' gpus=() ids=() staged=() idled=()

problem() {
  problems+=${problems:+; }$1
}

# logger waits for ever when syslogd hangs, hence the timeout.
finish() {
  [[ -z $problems ]] || timeout -s KILL 0.3 logger -t dcgm-job-map -p daemon.warning -- "${0##*/}, job ${job@Q}: $problems"
  exit 0
}

# Lines key=value; read, never sourced.
read_settings() {
  local key value
  [[ -r $settings ]] || { problem "no settings in $settings"; return 1; }
  while IFS='=' read -r key value; do
    case $key in
      directory) directory=$value ;;
      idle) idle=$value ;;
      time_limit) [[ $value =~ ^[1-9][0-9]{2,4}$ ]] && limit=$value ;;
    esac
  done <"$settings"
  [[ $directory == /?* ]] || { problem "$settings names no directory"; return 1; }
}

# The names of this job's map files, in gpus. Slurm gives positions; anything else is refused, one by one.
find_gpus() {
  local IFS=, word positions=${SLURM_JOB_GPUS-}
  ((${#positions} <= 4096)) || { problem 'SLURM_JOB_GPUS is too long'; return; }
  for word in $positions; do
    if [[ $word =~ ^(0|[1-9][0-9]{0,2})$ ]]; then
      gpus[word]=$word
    else
      problem "${word@Q} in SLURM_JOB_GPUS is no position"
    fi
  done
}

# The job ids of a map file, in ids, each once. A bounded read; whatever is not a plain file counts as empty.
read_ids() {
  local text='' word size=65536
  ids=()
  [[ -f $1 && ! -L $1 ]] && IFS= read -r -N "$size" text <"$1"
  ((${#text} < size)) || text=${text%[[:space:]]*}
  for word in $text; do
    [[ $word =~ ^[1-9][0-9]{0,9}$ && " ${ids[*]} " != *" $word "* ]] && ids+=("$word")
  done
}

# Writes the new content of one map file beside the map; publish moves it into place.
stage() {
  local name=$1 new=$directory/.new/$1
  shift
  if (($# == 0)) && [[ $idle == unlink ]]; then
    idled+=("$directory/$name")
  elif if (($#)); then printf '%s\n' "$@"; else :; fi >"$new"; then
    staged+=("$new")
  else
    problem "cannot write $new"
  fi
}

publish() {
  ((${#staged[@]} == 0)) || mv -f -t "$directory" -- "${staged[@]}" || problem "cannot update $directory"
  ((${#idled[@]} == 0)) || rm -f -- "${idled[@]}" || problem "cannot remove from $directory"
}

add() {
  local gpu
  for gpu in "${gpus[@]}"; do
    read_ids "$directory/$gpu"
    [[ " ${ids[*]} " == *" $job "* ]] || ids+=("$job")
    stage "$gpu" "${ids[@]}"
  done
}

# Over all files: the epilog may have no GPU variables, or those of another node.
remove() {
  local file keep
  set +f
  local files=("$directory"/[0-9]*)
  set -f
  for file in "${files[@]}"; do
    read_ids "$file"
    [[ " ${ids[*]} " == *" $job "* ]] || continue
    keep=" ${ids[*]} "
    keep=${keep/" $job "/ }
    # shellcheck disable=SC2086 # words by intention
    stage "${file##*/}" $keep
  done
}

# Runs with the lock on fd 9. What a killed run left in .new goes first, so that it can never be published.
update() {
  local wait=$((limit > 500 ? limit - 400 : 100))
  printf -v wait '%d.%03d' $((wait / 1000)) $((wait % 1000))
  if ! type -P flock; then
    problem 'no flock: updating without a lock'
  elif ! flock -w "$wait" 9; then
    problem "lock not free within $wait s, map left as it is"
    return
  fi
  set +f
  local left=("$directory"/.new/*)
  set -f
  [[ ! -e ${left[0]} && ! -L ${left[0]} ]] || rm -rf -- "${left[@]}"
  "$1"
  publish
}

main() {
  local action
  case ${0##*/} in
    *prolog*) action=add ;;
    *epilog*) action=remove ;;
    *) problem 'the file name says neither prolog nor epilog'; return ;;
  esac
  [[ $job =~ ^[1-9][0-9]{0,9}$ ]] || { problem 'SLURM_JOB_ID is no job id'; return; }
  find_gpus
  [[ $action == remove ]] || ((${#gpus[@]})) || return
  read_settings || return
  [[ -d $directory/.new ]] || mkdir -p -- "$directory/.new"
  { update "$action"; } 9<>"$directory/.lock" || problem "cannot write in $directory"
}

trap finish EXIT
main
