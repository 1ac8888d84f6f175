#!/usr/bin/env bash
# One cell of the README's matrix: tests/matrix.sh PYTHON TENSORFLOW [TEMPLATES]
#   tests/matrix.sh python3.13 2.21                      imports, the architectures, upstream's tests
#   tests/matrix.sh python3.13 2.21 'faster_rcnn or ssd' the templates that pytest -k picks
# Needs uv. The environment is runs/matrix/VERSIONS; what each check printed lies beside it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$1 tensorflow=$2 templates=${3:-}

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
cell=runs/matrix/python-$version-tensorflow-$tensorflow
mkdir -p "$cell"
uv venv --quiet --clear --python "$python" "$cell/venv"
# requirements.txt asks for one release of TensorFlow; the packages around it follow.
for package in tensorflow tf-keras tensorflow-text; do
  echo "$package==$tensorflow.*"
done >"$cell/overrides.txt"
uv pip install --quiet --python "$cell/venv" --overrides "$cell/overrides.txt" -r requirements.txt

check() {
  local name=$1
  shift
  if "$cell/venv/bin/python" "$@" >"$cell/$name.log" 2>&1; then
    echo "$cell $name: passed ($(tail -1 "$cell/$name.log"))"
  else
    echo "$cell $name: FAILED, see $cell/$name.log"
    failed=1
  fi
}

failed=0
rm -rf "$cell/upstream"
check imports -m pytest -q tests/test_upstream.py
check templates -m pytest -q tests/test_templates.py -k "${templates:-template}"
PYTHONPATH=tools check upstream tests/upstream/run.py --output "$cell/upstream" \
  'builders/*' 'core/*nms_test' core/losses_test 'data_decoders/*' 'export*' inputs_test
exit $failed
