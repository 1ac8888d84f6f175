#!/usr/bin/env bash
# Runs `tfod train` with the given arguments; sets up .venv first if needed.
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$tools/setup.sh"
exec "$tools/../.venv/bin/tfod" train "$@"
