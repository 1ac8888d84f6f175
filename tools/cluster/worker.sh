#!/bin/sh
# Trains as one of several machines. Run it on each of them, with another INDEX, from 0:
#   tools/cluster/worker.sh "HOST:PORT HOST:PORT ..." INDEX OPTIONS_OF_TFOD_TRAIN
# All get the same list and the same options. The first one writes the run folder.
set -eu
workers=$1 index=$2
shift 2
quoted=$(printf '"%s", ' $workers)
task="{\"type\": \"worker\", \"index\": $index}"
export TF_CONFIG="{\"cluster\": {\"worker\": [${quoted%, }]}, \"task\": $task}"
exec tfod train "$@"
