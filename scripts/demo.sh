#!/usr/bin/env bash
# SST pre-training on the generated catalogue, export, and fine-tuning with and without it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
# Models of this size use two cores better as two processes than as one with two threads.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
out=${OUT:-demo}
rm -rf "$out/runs" "$out/sst-encoder"
mkdir -p "$out"
jobs=()
trap 'kill "${jobs[@]}" 2>/dev/null || true' EXIT

say() { printf '\n== %s\n' "$*"; }

finetune() { # NAME TASK [OPTION...]
  local root="$out/runs/$1/$2" config="experiments/finetune_$2.yaml"
  shift 2
  hlm fit --config "$config" --trainer.default_root_dir "$root" "$@"
}

finish() { # PID LOG
  wait "$1" || { tail -n 5 "$2" >&2; exit 1; }
}

say "1/3 SST pre-training: the encoder learns the category tree"
echo "Meanwhile, fine-tuning from scratch in the background: $out/scratch.log"
(finetune scratch pc; finetune scratch qp) > "$out/scratch.log" 2>&1 &
jobs+=($!)
hlm fit --config experiments/sst.yaml --trainer.default_root_dir "$out/runs/sst"

say "2/3 Export as a Hugging Face folder"
hlm export "$out/runs/sst/version_0" "$out/sst-encoder"
finish "${jobs[0]}" "$out/scratch.log"

say "3/3 Fine-tuning the pre-trained encoder on product categorisation and query-product relevance"
finetune pretrained qp --model.backbone.pretrained "$out/sst-encoder" > "$out/pretrained.log" 2>&1 &
jobs+=($!)
finetune pretrained pc --model.backbone.pretrained "$out/sst-encoder"
finish "${jobs[1]}" "$out/pretrained.log"

say "What the pre-training brought"
hlm compare "$out/runs/scratch" "$out/runs/pretrained" --output "$out/table.md"
echo "The encoder, for AutoModel.from_pretrained or SentenceTransformer: $PWD/$out/sst-encoder"
