#!/usr/bin/env bash
# Runs `tfod predict` with the given arguments; sets up .venv first if needed.
# Without arguments: draws six streets and detects the road signs in them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tools/setup.sh"
tfod=$root/.venv/bin/tfod
if [ $# -eq 0 ]; then
  streets=$root/data/streets_voc
  [ -d "$streets" ] || "$tfod" sample --output "$streets" --count 6 --seed 7
  set -- --output "$root/runs/streets" --overwrite "$streets/images"
fi
exec "$tfod" predict "$@"
