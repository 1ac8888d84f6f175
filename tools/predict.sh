#!/usr/bin/env bash
# Sets up where needed and runs `tfod predict` with the same arguments, from any folder.
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$tools/setup.sh"
exec "$tools/../.venv/bin/tfod" predict "$@"
