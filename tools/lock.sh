#!/usr/bin/env bash
# Writes requirements.lock and requirements-dev.lock, the versions and hashes that tools/setup.sh
# installs: for Python 3.10 to 3.13 on Linux (x86-64, ARM64), macOS 14 (ARM64) and Windows (x86-64).
#   tools/lock.sh             after a change of requirements*.txt
#   tools/lock.sh --upgrade   take the newest versions that they allow
# Then checks that every package has a wheel on each of them. Needs uv; takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
platforms=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin x86_64-pc-windows-msvc)
pythons=(3.10 3.11 3.12 3.13)
# On PyPI this one is a source archive only. It is pure Python.
wheels=(--only-binary :all: --no-binary tf-models-research-object-detection)
export MACOSX_DEPLOYMENT_TARGET=14.0

lock() {
  local name=$1
  shift
  uv pip compile --quiet --universal --python-version "${pythons[0]}" --generate-hashes \
    --no-annotate --custom-compile-command tools/lock.sh "${wheels[@]}" --output-file "$name" "$@"
}

# The constraints are for pip, which cannot leave packages out.
runtime=$(mktemp)
trap 'rm -f "$runtime"' EXIT
grep --invert-match '^--constraint' requirements.txt |
  cat - tools/requirements-{onnx,tracking}.txt >"$runtime"

lock requirements.lock "$runtime" "$@"
lock requirements-dev.lock requirements-dev.txt --constraint requirements.lock "$@"

failed=0
for platform in "${platforms[@]}"; do
  for python in "${pythons[@]}"; do
    if uv pip compile --quiet --python-platform "$platform" --python-version "$python" \
      "${wheels[@]}" --constraint requirements.lock --constraint requirements-dev.lock \
      "$runtime" requirements-dev.txt >/dev/null; then
      echo "$platform, Python $python: complete"
    else
      failed=1
    fi
  done
done
exit $failed
