#!/usr/bin/env bash
# Runs pipelines/train_on_colab.ipynb of the last commit where Python and its packages are like those of
# Colab: in a Debian without `ensurepip`, as root, with TensorFlow and NumPy of the system.
#   tests/colab.sh FOLDER       installs Debian into the new folder FOLDER (5 GB), and runs all cells
#   tests/colab.sh FOLDER       again: like "Run all" after the training
#   tests/colab.sh FOLDER uv    also installs uv into the system first, as newer machines of Colab have it
# Needs root, debootstrap and access to Debian's packages and PyPI. The notebook with its output is
# FOLDER/content/train_on_colab.ipynb.
set -euo pipefail
mkdir -p "$1"
root=$(cd "$1" && pwd) with_uv=${2:-}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=(tensorflow==2.19.0 numpy==2.0.2 ipykernel==6.17.1 ipython==7.34.0 matplotlib==3.10.0 nbclient)

# Those of Colab's kernel that matter to Python, pip, uv and Matplotlib.
environment=(
  HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin TERM=xterm-color
  MPLBACKEND=module://matplotlib_inline.backend_inline PYTHONPATH=/env/python
  PYTHONWARNINGS=ignore:::pip._internal.cli.base_command TF2_BEHAVIOR=1
  UV_BUILD_CONSTRAINT= UV_CONSTRAINT= UV_PRERELEASE=if-necessary-or-explicit UV_SYSTEM_PYTHON=true
  SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
)
inside() {
  # The mounts are visible to this command only, and end with it.
  unshare --mount --pid --fork bash -euc '
    root=$1 && shift
    mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" && mount -t proc proc "$root/proc"
    exec chroot "$root" env --ignore-environment "$@"' - "$root" "${environment[@]}" "$@"
}

if [ ! -d "$root/content" ]; then
  debootstrap --variant=minbase --include=ca-certificates,git,libegl1,libgles2,python3-pip \
    bookworm "$root"
  cp /etc/resolv.conf "$root/etc"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs" # with those of a company's proxy
  inside pip install --break-system-packages "${packages[@]}"
  colab=$root/usr/lib/python3/dist-packages/google/colab
  mkdir -p "$colab" "$root/env/python" "$root/content"
  cat >"$colab/drive.py" <<<'
import os
def mount(folder): os.makedirs(f"{folder}/MyDrive", exist_ok=True)'
  cat >"$colab/files.py" <<<'
import os
def download(file): print("downloaded:", os.stat(file).st_size, "bytes")'
fi
if inside python3 -c 'import ensurepip' 2>/dev/null; then
  echo "colab: $root has ensurepip, unlike Colab" >&2
  exit 1
fi
[ -z "$with_uv" ] || inside pip install --break-system-packages uv
[ -d "$root/srv/project" ] || git clone --quiet --bare . "$root/srv/project"
git show HEAD:pipelines/train_on_colab.ipynb | # the weights of the zoo may be out of reach
  sed 's|PROJECT = \\"\\"|PROJECT = \\"file:///srv/project\\"|; s|INIT = \\"zoo|INIT = \\"scratch|
    s|MINUTES = 45|MINUTES = 2|' >"$root/content/train_on_colab.ipynb"
inside jupyter-execute --inplace /content/train_on_colab.ipynb
ls -l "$root/content/drive/MyDrive/detector/exported_models/signs"
