#!/usr/bin/env bash
# Installs what requirements.lock lists into .venv (Python 3.10 to 3.13). Does nothing if that is done.
#   tools/setup.sh         to use tfod
#   tools/setup.sh --dev   also what the tests need (requirements-dev.lock)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
UV_VERSION=0.13.9

fail() {
  echo "setup: $1" >&2
  exit 2
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.12 python3.11 python3.10 python3.13 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.10 to 3.13 found. Install one, or name it: PYTHON=/path/to/python $0"
}

locks=(requirements.lock)
case ${1:-} in
  '') ;;
  --dev) locks+=(requirements-dev.lock) ;;
  *) fail "unknown option $1. The only option is --dev" ;;
esac
# TensorFlow needs its own CUDA libraries. Only the driver has to be installed.
cuda=''
if nvidia-smi >/dev/null 2>&1; then
  cuda='tensorflow[and-cuda]'
fi

stamp=.venv/installed
expected="$(cat "${locks[@]}" pyproject.toml | cksum) ${locks[*]} $cuda"
if [ -x .venv/bin/python ] && grep -qxF "$expected" $stamp 2>/dev/null; then
  exit 0
fi

uv=$(command -v uv || echo .venv/bin/uv)
install_uv() { # with the pip that the arguments run
  "$@" install --quiet --disable-pip-version-check "uv==$UV_VERSION"
}
can_install() {
  .venv/bin/python -c '' && { [ -x "$uv" ] || .venv/bin/python -m pip --version; }
}
if ! can_install >/dev/null 2>&1; then
  python=$(find_python)
  rm -rf .venv
  if [ -x "$uv" ]; then
    "$uv" venv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
  elif ! "$python" -m venv .venv >/dev/null 2>&1; then
    # Colab's Python has pip, but not the `ensurepip` that would put it into .venv.
    rm -rf .venv
    "$python" -m venv --without-pip .venv && install_uv "$python" -m pip --python .venv/bin/python ||
      fail "$python cannot create a virtual environment. On Debian: apt install python3-venv"
  fi
fi
[ -x "$uv" ] || install_uv .venv/bin/python -m pip
install() {
  "$uv" pip install --python .venv/bin/python "$@"
}
# The lock is complete, so dependencies are not resolved again. Each file's hash is checked.
install --no-deps --require-hashes "${locks[@]/#/--requirement=}"
if [ -n "$cuda" ]; then
  install --constraint requirements.lock "$cuda"
fi
install --quiet --no-deps --editable .
# `setup.sh --dev` has installed what `setup.sh` would.
{
  echo "$expected"
  echo "$(cat requirements.lock pyproject.toml | cksum) requirements.lock $cuda"
} >$stamp
