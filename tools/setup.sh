#!/usr/bin/env bash
# Makes .venv with everything the project needs (Python 3.10 to 3.13). Run again, it does nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.12 python3.11 python3.10 python3.13 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "setup: no Python 3.10 to 3.13 found. Install one, or name it: PYTHON=/path/to/python $0" >&2
  exit 2
}

# Where there is an NVIDIA GPU, the CUDA libraries come along: TensorFlow needs its own, not the
# machine's. Only the driver has to be there.
cuda=''
if nvidia-smi >/dev/null 2>&1; then
  cuda='tensorflow[and-cuda]'
fi
stamp=.venv/installed-for
wanted="$(cat requirements.txt pyproject.toml | cksum) $cuda"
if [ -x .venv/bin/python ] && [ "$(cat $stamp 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi

if ! .venv/bin/python -c '' 2>/dev/null; then
  python=$(find_python)
  rm -rf .venv
  if command -v uv >/dev/null; then
    uv venv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
  else
    "$python" -m venv .venv || {
      echo "setup: $python cannot make a virtual environment. On Debian: apt install python3-venv" >&2
      exit 2
    }
  fi
fi
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
  uv=.venv/bin/uv
fi
# pyproject.toml's [tool.uv] leaves out what cannot be installed or would overwrite its twin.
"$uv" pip install --python .venv/bin/python --requirement requirements.txt ${cuda:+"$cuda"}
"$uv" pip install --quiet --python .venv/bin/python --no-deps --editable .
echo "$wanted" >$stamp
