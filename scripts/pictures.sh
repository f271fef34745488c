#!/usr/bin/env bash
# The README's pictures: the upper parts of three reports, taken by a headless Chromium.
# bash scripts/pictures.sh CASCADE SST_RUN SWEEP [OUTPUT]
# BASELINE=runs/dnn puts another cascade beside the first one.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: bash scripts/pictures.sh CASCADE SST_RUN SWEEP [OUTPUT]" >&2
  exit 2
fi
cascade=$1 sst=$2 sweep=$3
output=$(realpath -m "${4:-docs/pictures}")
export PATH="$PWD/.venv/bin:$PATH"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "no Chromium on PATH" >&2
  exit 2
}
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
mkdir -p "$output"

picture() { # NAME HEIGHT ARGUMENTS of `hlm report`...
  local name=$1 height=$2
  shift 2
  hlm report "$@" --output "$pages/$name"
  "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars \
    --user-data-dir="$pages/profile" --force-device-scale-factor=1 \
    --window-size="1280,$height" --screenshot="$output/report-$name.png" \
    "file://$pages/$name/report.html" 2>/dev/null
  echo "$output/report-$name.png: $(stat --format %s "$output/report-$name.png") bytes"
}

picture cascade 1400 "$cascade" ${BASELINE:+--baseline "$BASELINE"}
picture sst 2000 "$sst"
picture grid 1100 "$sweep"
