#!/usr/bin/env bash
# Sets up where needed and runs `tfod live` with the same arguments, from any folder.
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$tools/setup.sh"
exec "$tools/../.venv/bin/tfod" live "$@"
