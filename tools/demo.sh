#!/usr/bin/env bash
# Runs the whole workflow on a synthetic data set: about ten minutes on two cores. Downloads nothing
# but the packages. If interrupted, run it again to resume.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tools/setup.sh"
cd "$root"

step() {
  echo
  echo "\$ tfod $*"
  .venv/bin/tfod "$@"
}

[ -d data/demo_voc ] || step sample --output data/demo_voc --count 400
[ -d data/demo ] || step convert --annotations data/demo_voc/annotations \
  --images data/demo_voc/images --output data/demo
# Smaller images in the first steps take two thirds of the time (pipelines/README.md).
step train --data data/demo --pipeline ssd_mobilenet_v2_fpnlite_w050_224x224 --init scratch \
  --first-input-size 160 --output runs/demo
step export --run runs/demo --output exported_models/demo --overwrite
step evaluate --model exported_models/demo --data data/demo
# Another seed gives images that were not used for training.
[ -d data/demo_unseen ] || step sample --output data/demo_unseen --count 24 --seed 1
step predict --model exported_models/demo/model.tflite --output runs/demo_predictions --overwrite \
  data/demo_unseen/images

echo
echo "SavedModel:     exported_models/demo/saved_model"
echo "TFLite:         exported_models/demo/model.tflite"
echo "Contact sheet:  runs/demo_predictions/contact_sheet.jpg"
