#!/usr/bin/env bash
# SST pre-training on the generated catalogue, export, and fine-tuning with and without it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
OUT=${OUT:-demo}
rm -rf "$OUT/runs" "$OUT/encoder"

say() { printf '\n== %s\n' "$*"; }

say "1/4 SST pre-training: the encoder learns the category tree"
hlm fit --config experiments/sst.yaml --trainer.default_root_dir "$OUT/runs/sst"

say "2/4 Export as a Hugging Face folder"
hlm export "$OUT/runs/sst/version_0" "$OUT/encoder"

say "3/4 Fine-tuning from scratch"
for task in pc qp; do
  hlm fit --config "experiments/finetune_$task.yaml" \
    --trainer.default_root_dir "$OUT/runs/scratch/$task"
done

say "4/4 Fine-tuning the SST encoder"
for task in pc qp; do
  hlm fit --config "experiments/finetune_$task.yaml" --model.backbone.pretrained "$OUT/encoder" \
    --trainer.default_root_dir "$OUT/runs/pretrained/$task"
done

say "What the pre-training brought"
hlm compare "$OUT/runs/scratch" "$OUT/runs/pretrained" --output "$OUT/table.md"
echo "The encoder, for AutoModel.from_pretrained or SentenceTransformer: $PWD/$OUT/encoder"
