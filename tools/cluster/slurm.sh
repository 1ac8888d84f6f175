#!/bin/bash
# Trains on the nodes of a Slurm job, one process per node:
#   sbatch --nodes=4 tools/cluster/slurm.sh OPTIONS_OF_TFOD_TRAIN
# If a node fails, the others wait; `sbatch --requeue` starts the job again, and it resumes.
#SBATCH --job-name=tfod
#SBATCH --ntasks-per-node=1
set -euo pipefail
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/\$/:${PORT:-2222}/" | paste -sd " ")
# Slurm runs a copy of this file: the folder of the others is that of `sbatch`.
worker=$SLURM_SUBMIT_DIR/tools/cluster/worker.sh
srun --kill-on-bad-exit=0 bash -c '"$0" "$1" "$SLURM_PROCID" "${@:2}"' "$worker" "$hosts" "$@"
