#!/bin/bash
# What prolog and epilog would be if written plainly: for each GPU a lock, a few external programs, a temporary file.
# benchmarks/job_map.py measures against it. Usage: baseline.sh prolog|epilog DIRECTORY LOG

kind=$1
directory=$2
log=$3
job=$SLURM_JOB_ID

for gpu in $(echo "$SLURM_JOB_GPUS" | tr ',' ' '); do
  (
    flock 9
    file=$directory/$gpu
    new=$(mktemp "$directory/.new-XXXXXXXX")
    touch "$file"
    if [ "$kind" = prolog ]; then
      cat "$file" >"$new"
      grep -qx "$job" "$new" || echo "$job" >>"$new"
    else
      sed "/^$job\$/d" "$file" >"$new"
    fi
    chmod 644 "$new"
    mv "$new" "$file"
    echo "$(date '+%Y-%m-%d %H:%M:%S') $kind: job $job, GPU $gpu" >>"$log"
  ) 9>"$directory/.lock"
done
