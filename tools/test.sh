#!/usr/bin/env bash
# Runs the tests; sets up .venv first if needed.
#   tools/test.sh            what to run before each commit
#   tools/test.sh --quick    without training or exporting a model
#   tools/test.sh --all      everything, including what takes minutes each
# Other arguments go to pytest: tools/test.sh --quick tests/annotation -x
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
select='not slow'
case ${1:-} in
  --quick) select='not long and not slow' && shift ;;
  --all) select='' && shift ;;
esac
"$root/tools/setup.sh" --dev
cd "$root"
# Two processes, since tracing a model uses one core. A file's tests share what they built.
exec .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "$select" "$@"
