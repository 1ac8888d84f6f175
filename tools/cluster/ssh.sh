#!/bin/bash
# Trains on machines that are reached with ssh, and have the project in the same folder:
#   tools/cluster/ssh.sh "HOST HOST ..." OPTIONS_OF_TFOD_TRAIN
# Ctrl-C ends it on all of them; the same command resumes.
set -euo pipefail
hosts=$1
shift
workers=$(printf "%s:${PORT:-2222} " $hosts)
command="cd $(printf %q "$PWD") && PATH=$(printf %q "$PWD/.venv/bin"):\$PATH"
index=0
for host in $hosts; do
    # -tt: the remote process ends with this one.
    ssh -tt "$host" "$command tools/cluster/worker.sh $(printf '%q ' "$workers" $index "$@")" &
    index=$((index + 1))
done
trap 'kill $(jobs -p)' INT TERM
status=0
for job in $(jobs -p); do
    wait "$job" || status=$?
done
exit "$status"
