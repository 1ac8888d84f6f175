#!/usr/bin/env bash
# Sets up where needed and runs the tests. Arguments go to pytest: tools/test.sh -m "not long"
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tools/setup.sh"
cd "$root"
exec .venv/bin/python -m pytest "$@"
