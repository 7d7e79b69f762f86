#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole comparison: environments, all contestants for all seeds, the table. From anywhere:
#     benchmarks/rivals/run.sh --steps 2000 [--seeds "0 1 2"] [--work FOLDER] [--only "conjoin spt"] [-- OPTIONS]
# OPTIONS go to every contestant (--batch 128 --lr 5e-4 ...). Finished feature files are kept and not made
# again; so a stopped run goes on where it was.
set -euo pipefail

steps="" seeds="0" only="conjoin spt lightly lightly-paper"
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/runs/rivals
while [ $# -gt 0 ]; do
  case $1 in
    --steps) steps=$2; shift 2 ;;
    --seeds) seeds=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    --) shift; break ;;
    *) echo "run.sh: unknown option $1 (--steps --seeds --work --only --)" >&2; exit 2 ;;
  esac
done
[ -n "$steps" ] || { echo "run.sh: say how long: --steps N" >&2; exit 2; }
mkdir -p "$work"
work=$(cd "$work" && pwd)
features=$work/features-$steps
mkdir -p "$features"

environment() { # NAME PACKAGES...: made once, conjoin as it is now beside the pinned set
  local folder=$work/env-$1
  shift
  if [ ! -e "$folder/ready" ]; then
    uv venv --quiet --clear --python 3.11 "$folder"
    uv pip install --quiet --python "$folder" -c "$root/constraints.txt" \
      "$root/packages/core" "$root/packages/vision" "$root/packages/samples" "$@"
    touch "$folder/ready"
  fi
}

contestant() { # NAME ENVIRONMENT SCRIPT OPTIONS...
  local name=$1 python=$work/env-$2/bin/python script=$here/$3 seed
  shift 3
  for seed in $seeds; do
    for length in 0 "$steps"; do
      # Both versions of lightly start from the same weights.
      [ "$name" = lightly-paper ] && [ "$length" = 0 ] && continue
      local out=$features/$name-$length-$seed.npz
      [ -e "$out" ] || "$python" "$script" --steps "$length" --seed "$seed" --out "$out" "$@"
    done
  done
}

environment conjoin
[ -e "$features/raw.npz" ] || "$work/env-conjoin/bin/python" "$here/data.py" --out "$features/raw.npz"
for name in $only; do
  case $name in
    conjoin) contestant conjoin conjoin train_conjoin.py "$@" ;;
    spt) environment spt timm stable-pretraining==0.1.8; contestant spt spt train_spt.py "$@" ;;
    lightly) environment lightly timm lightly==1.6.0; contestant lightly lightly train_lightly.py "$@" ;;
    lightly-paper)
      environment lightly timm lightly==1.6.0
      contestant lightly-paper lightly train_lightly.py --masks paper "$@" ;;
    *) echo "run.sh: unknown contestant $name (conjoin spt lightly lightly-paper)" >&2; exit 2 ;;
  esac
done
"$work/env-conjoin/bin/python" "$here/compare.py" "$features"/*.npz --out "$work/table-$steps.md"
