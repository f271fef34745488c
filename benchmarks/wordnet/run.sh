#!/usr/bin/env bash
# SST pre-training on WordNet's 72,000 nouns from the weights of MiniLM; its hierarchy prediction
# with every decoding. The last step writes a table.
# Usage: benchmarks/wordnet/run.sh MINILM_FOLDER SOURCE OUT [OPTION...]
#   MINILM_FOLDER  a Hugging Face folder of all-MiniLM-L6-v2
#   SOURCE         folder with noun.*.yaml or noun.*.yaml.gz of Open English WordNet
#   OUT            results; the dataset goes to OUT/wordnet, made if it is not there
#   OPTION         of `hlm fit`: --trainer.limit_train_batches 350, say
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
minilm=$(realpath "$1") source=$(realpath "$2") out=$3
shift 3
mkdir -p "$out" && cd "$out"
options=(--config "$repository/experiments/wordnet.yaml" --data.dataset wordnet
  --model.backbone.name minilm --model.backbone.pretrained "$minilm"
  --trainer.precision bf16-mixed --trainer.enable_progress_bar false)

if [ ! -d wordnet ]; then
  python "$repository/scripts/wordnet.py" "$source" synsets.jsonl
  hlm prepare --config "$repository/experiments/datasets/wordnet.yaml" --output wordnet
fi
[ -d runs/sst ] || hlm fit "${options[@]}" --trainer.default_root_dir runs/sst "$@"
for decoding in none parent top1; do
  hlm test "${options[@]}" --model.decode.constraint $decoding --ckpt_path runs/sst/version_0 \
    --trainer.default_root_dir "runs/$decoding"
done
hlm test "${options[@]}" --model.decode "{constraint: top1, threshold: 0.5}" \
  --ckpt_path runs/sst/version_0 --trainer.default_root_dir runs/top1-0.5
python "$repository/benchmarks/wordnet/table.py" wordnet runs
