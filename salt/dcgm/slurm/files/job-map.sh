#!/bin/bash -p
# Tells dcgm-exporter which Slurm jobs hold which GPU: slurmd runs it as prolog (adds the job) and epilog (removes it).
#
# One script, two names, as every job reads it over NFS twice: the file name says what to do.
# It exits 0 whatever happens (else the node drains), leaves slurmd's pipe alone, starts only flock, mv to replace ids.
# Problems go to syslog; each run is a line in a spool.
# No regular expressions: bash takes most of the time.

trap 'exit 0' EXIT HUP INT TERM
set -f +o posix
shopt -s nullglob dotglob
exec </dev/null >/dev/null 2>&1
export PATH=/usr/bin:/usr/sbin:/bin:/sbin LC_ALL=C
umask 022

# Microseconds; before bash 5 in steps of 10 ms.
now() {
  time=${EPOCHREALTIME-}
  [[ $time ]] || { IFS=' ' read -r time _ </proc/uptime; time+='0000'; }
  time=10#${time/[.,]/}
}

now
began=$time
settings=/etc/dcgm-exporter/job-map.conf
runtime=/run/superpod-dcgm
job=${SLURM_JOB_ID:0:99} kind=prolog
directory='' idle=empty limit=2000 mig=no shared=yes log=''
reasons='' problems='' gpus='' staged=() idled=()

# A reason for the metrics, and words for syslog.
problem() {
  [[ ,$reasons, == *,$1,* ]] || reasons+=${reasons:+,}$1
  problems+=${2:+${problems:+; }$2}
}

fail() {
  problem "$@"
  exit
}

# Whether writing there neither blocks nor leads elsewhere.
plain() {
  [[ ! -L $1 && (-f $1 || ! -e $1) ]]
}

# The spool ends at 64 KiB. logger waits for ever when syslogd hangs: hence the timeout, and the lock goes first.
finish() {
  trap '' HUP INT TERM
  exec 9>&-
  umask 022
  now
  ulimit -S -f 64
  plain "$runtime/spool" && printf '%s %d %s\n' $kind $((time - began)) "${reasons:-ok}" >>"$runtime/spool"
  ulimit -S -f hard
  [[ $log || $problems ]] || exit 0
  local who="${0##*/}, job ${job@Q}" said=${problems:0:2000}
  [[ $log == /* ]] && plain "$log" &&
    printf '%(%FT%T%z)T %s, GPUs %s: %s\n' -1 "$who" "${gpus:-none}" "${said:-${reasons:-ok}}" >>"$log"
  [[ -z $said ]] || timeout -s KILL 0.3 logger -t dcgm-job-map -p daemon.warning -- "$who: $said"
  exit 0
}

# The ids of a map file, each once. A bounded read; what is no plain file counts as empty.
read_ids() {
  local IFS=$' \t\r\n' text='' word size=65536
  ids=''
  [[ -s $1 && -f $1 && ! -L $1 ]] && IFS= read -r -N $size text <"$1"
  ((${#text} < size)) || text=${text%[[:space:]]*}
  for word in $text; do
    [[ ${#word} -le 10 && $word == [1-9]*([0-9]) && $'\n'$ids != *$'\n'$word$'\n'* ]] && ids+=$word$'\n'
  done
}

# Takes the lock, on fd 9; who may read it may hold it. What a killed run left in .new is never published.
lock() {
  local wait=$((limit > 500 ? limit - 400 : 100)) left
  [[ -d $new ]] || mkdir -p -- "$new"
  umask 077
  exec 9<>"$directory/.lock" || fail directory "cannot write in $directory"
  umask 022
  printf -v wait '%d.%03d' $((wait / 1000)) $((wait % 1000))
  flock -w "$wait" 9
  case $? in
    0) ;;
    12[67]) problem lock 'no flock: updating without a lock' ;;
    *) fail lock "lock not free within $wait s, map left as it is" ;;
  esac
  set +f
  left=("$new"/*)
  set -f
  ((!${#left[@]})) || rm -rf -- "${left[@]}"
}

# Writes a file of the map: from or to nothing in place, of which no reader sees half.
stage() {
  local to=$directory/$1 move=''
  if [[ $idle == unlink && -z $2 ]]; then
    idled+=("$to")
    return
  fi
  [[ $idle != unlink && (-z $2 || ! -s $to) ]] && plain "$to" || move=$new/$1
  if printf %s "$2" >"${move:-$to}"; then
    staged+=(${move:+"$move"})
  else
    problem write "cannot write ${move:-$to}"
  fi
}

publish() {
  ((!${#staged[@]})) || mv -f -t "$directory" -- "${staged[@]}" || problem write "cannot update $directory"
  ((!${#idled[@]})) || rm -f -- "${idled[@]}" || problem write "cannot update $directory"
}

trap finish EXIT
trap 'fail signal "ended by a signal"' HUP INT TERM
trap '' XFSZ
case ${0##*/} in
  *prolog*) ;;
  *epilog*) kind=epilog ;;
  *) fail name 'the file name says neither prolog nor epilog' ;;
esac

# Lines key=value; read, never sourced.
mapfile -t lines <"$settings" || fail settings "no settings in $settings"
for line in "${lines[@]}"; do
  case $line in
    directory=* | idle=* | mig=* | shared=* | log=*) printf -v "${line%%=*}" %s "${line#*=}" ;;
    time_limit=*) [[ $line == *=[1-9][0-9][0-9]?([0-9])?([0-9]) ]] && limit=${line#*=} ;;
  esac
done
[[ $directory == /?* ]] || fail settings "$settings names no directory"
new=$directory/.new record=$directory/.job-$job
[[ ${#job} -le 10 && $job == [1-9]*([0-9]) ]] || fail job_id 'SLURM_JOB_ID is no job id'

# Over all files: the epilog may have no GPU variables, or another node's. It reads no further.
if [[ $kind == epilog ]]; then
  lock
  set +f
  files=("$directory"/[0-9]*)
  set -f
  for file in "${files[@]}"; do
    read_ids "$file"
    keep=$'\n'$ids
    [[ $keep == *$'\n'$job$'\n'* ]] || continue
    gpus+=${gpus:+,}${file##*/}
    keep=${keep/$'\n'$job$'\n'/$'\n'}
    stage "${file##*/}" "${keep#$'\n'}"
  done
  [[ ! -s $record ]] || ! plain "$record" || stage ".job-$job" ''
  publish
  exit
fi

uuids=${CUDA_VISIBLE_DEVICES-} positions=${SLURM_JOB_GPUS-}
[[ $uuids$positions ]] || exit
((${#uuids} + ${#positions} < 9999)) || fail gpu 'the list of GPUs is too long'

# The device table: "uuid GPU-…" and "position 0" -> map name, "shared 1.3" -> 1.
declare -A table=()
tabled=''
if [[ -f $runtime/devices ]] && mapfile -t -n 9999 lines <"$runtime/devices"; then
  tabled=1
  for line in "${lines[@]}"; do
    case $line in
      uuid\ *\ shared | position\ *\ shared) line=${line% *} table["shared ${line##* }"]=1 ;;&
      uuid\ * | position\ *) table["${line% *}"]=${line##* } ;;
      gres\ *) [[ $shared == yes ]] || shared=${line#* } ;;
    esac
  done
fi

# A UUID wins over its position. If the lists differ in length, UUIDs count if all are known or one is MIG.
# Drivers before 470.42 name MIG devices MIG-GPU-…/<GPU instance>/<compute instance>.
IFS=,
# shellcheck disable=SC2206 # words by intention
uuids=($uuids) positions=($positions) found=()
for i in "${!uuids[@]}"; do
  word=${uuids[i]}
  [[ $word == @(GPU|MIG)-* ]] || continue
  instance=''
  if [[ $word == MIG-GPU-*/+([0-9])/+([0-9]) ]]; then
    instance=${word#*/} word=${word#MIG-}
    instance=.${instance%/*} word=${word%%/*}
  fi
  [[ ${word:4} == *[!0-9A-Fa-f-]* || -z ${table["uuid $word"]-} ]] || found[i]=${table["uuid $word"]}$instance
done
i=${#uuids[@]}
if ((i && ${#positions[@]} && i != ${#positions[@]})); then
  if [[ $i == "${#found[@]}" || $CUDA_VISIBLE_DEVICES == *MIG-* ]]; then
    positions=()
  else
    uuids=() found=()
  fi
fi

for ((i = 0; i < ${#uuids[@]} || i < ${#positions[@]}; i++)); do
  word=${positions[i]-} name=${found[i]-}
  # A new MIG layout moves positions: no guess. The position itself only without a table.
  if [[ ${uuids[i]-} == MIG-* ]]; then
    word=${uuids[i]}
  elif [[ $tabled ]]; then
    name=${name:-${table["position $word"]-}}
  elif [[ $word == @(0|[1-9]?([0-9])?([0-9])) ]]; then
    name=$word
  fi
  if [[ -z $name ]]; then
    word=${word:-${uuids[i]-}}
    [[ $word == NoDevFiles ]] || problem gpu "no GPU is known as ${word@Q}"
  elif [[ $name != @(0|[1-9]?([0-9])?([0-9]))?(.[0-9]?([0-9])?([0-9])) ]]; then
    problem table "the device table says ${name@Q}, which is no map file"
  elif [[ $name == *.* && $mig != yes ]]; then
    problem mig
    # Once per boot.
    [[ -e $runtime/mig-ignored ]] || problem mig 'this release of dcgm-exporter reads no MIG files'
    : >"$runtime/mig-ignored"
  elif [[ ,$gpus, != *,$name,* ]]; then
    gpus+=${gpus:+,}$name
  fi
done
[[ $gpus ]] || exit

lock

# First who the job is: fields of any bytes, ended by NULs.
plain "$record" || rm -rf -- "$record"
printf '%s\0' v1 "${SLURM_JOB_USER:0:256}" "${SLURM_JOB_ACCOUNT:0:256}" "${SLURM_JOB_PARTITION:0:256}" \
  "${SLURMD_NODENAME:0:256}" "$gpus" >"$record" || problem write "cannot write $record"

# Without sharing, other ids are stale.
[[ $shared != mps || ${CUDA_MPS_ACTIVE_THREAD_PERCENTAGE+x} ]] || shared=no
for name in $gpus; do
  ids=$job$'\n'
  if [[ $shared != no || ${table["shared $name"]-} ]]; then
    read_ids "$directory/$name"
    [[ $'\n'$ids == *$'\n'$job$'\n'* ]] || ids+=$job$'\n'
  fi
  stage "$name" "$ids"
done
publish
