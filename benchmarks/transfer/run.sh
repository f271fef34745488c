#!/usr/bin/env bash
# Does SST pre-training on one shop's catalogue help on other people's tasks? One pre-training run,
# two seeds of each fine-tuning.
# Usage: benchmarks/transfer/run.sh MINILM_FOLDER SOURCES OUT [STEP...]
#   MINILM_FOLDER  a Hugging Face folder of all-MiniLM-L6-v2
#   SOURCES        folder with hm_articles, mwpd2020_gpc and crowdflower as published
#   OUT            results; datasets go to OUT/data
#   STEP           prepare, sst, plain, pretrained, table; by default all
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
minilm=$(realpath "$1") sources=$(realpath "$2") out=$3
shift 3
[ $# -gt 0 ] || set -- prepare sst plain pretrained table
mkdir -p "$out" && cd "$out"
ln -sfn "$minilm" minilm
options=(--trainer.precision bf16-mixed --trainer.enable_progress_bar false)

finetune() { # ENCODER_FOLDER NAME SEED
  for task in mwpd crowdflower; do
    hlm fit --config "$here/$task.yaml" "${options[@]}" --seed_everything "$3" \
      --data.batch.seed "$3" --model.backbone.pretrained "$1" \
      --trainer.default_root_dir "runs/$2/$task-$3"
  done
}

for step in "$@"; do
  case $step in
    prepare)
      for name in hm mwpd2020 crowdflower; do
        hlm prepare --config "$here/../../experiments/datasets/$name.yaml" --root "$sources" \
          --output "data/$name"
      done ;;
    sst)
      hlm fit --config "$here/sst_hm.yaml" "${options[@]}" \
        --model.backbone.pretrained minilm --trainer.default_root_dir runs/sst
      hlm export runs/sst/version_0 sst-on-hm ;;
    plain) for seed in 0 1; do finetune minilm plain $seed; done ;;
    pretrained) for seed in 0 1; do finetune sst-on-hm pretrained $seed; done ;;
    table) hlm compare runs/plain runs/pretrained --output table.md ;;
  esac
done
