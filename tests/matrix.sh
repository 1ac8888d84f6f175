#!/usr/bin/env bash
# Tests one combination of Python and TensorFlow in the table of tests/README.md:
# tests/matrix.sh PYTHON TENSORFLOW [TEMPLATES]
#   tests/matrix.sh python3.13 2.21                      imports, templates, and upstream's own tests
#   tests/matrix.sh python3.13 2.21 'faster_rcnn or ssd' only the templates that pytest -k selects
# Needs uv. The environment and the logs of the checks are in runs/matrix/VERSIONS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$1 tensorflow=$2 templates=${3:-}

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
cell=runs/matrix/python-$version-tensorflow-$tensorflow
mkdir -p "$cell"
uv venv --quiet --clear --python "$python" "$cell/venv"
# Overrides the TensorFlow release in requirements.txt, and the packages that must match it.
for package in tensorflow tf-keras; do
  echo "$package==$tensorflow.*"
done >"$cell/overrides.txt"
# The constraints are for pip only.
grep --invert-match '^--constraint' requirements.txt >"$cell/requirements.txt"
uv pip install --quiet --python "$cell/venv" --overrides "$cell/overrides.txt" \
  -r "$cell/requirements.txt" -r requirements-dev.txt

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
check imports -m pytest -q tests/upstream
check templates -m pytest -q tests/model/test_templates.py -k "${templates:-template}"
PYTHONPATH=tools check upstream tests/object_detection_api/run.py --output "$cell/upstream" \
  'builders/*' 'core/*nms_test' core/losses_test 'data_decoders/*' 'export*' inputs_test
exit $failed
