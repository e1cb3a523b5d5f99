#!/usr/bin/env bash
# Speed and parity on an NVIDIA GPU beside PyTorch, all in one run. Needs the library of the factual plugin, a `kadapter-bench` that was
# built with the feature `cuda`, and a Python with PyTorch (with CUDA), NumPy and safetensors. Writes Markdown to stdout.
#
#   cargo build --release --features cuda --package kadapter-bench --package kadapter-factual
#   bench/gpu.sh [ROUNDS]
#
# PYTHON, BENCH and LIBRARY name the programs and the plugin where they lie elsewhere.
set -euo pipefail
cd "$(dirname "$0")"
rounds=${1:-9}
release=${CARGO_TARGET_DIR:-../target}/release
python=${PYTHON:-python3} bench=${BENCH:-$release/kadapter-bench} library=${LIBRARY:-$release/libkadapter_factual.so}
out=${OUT_FOLDER:-out} threads=$(nproc)
# An input of `bench/run.sh` from before may be shorter than the largest shape here: 32 x 128 rows of 1024 values of 4 bytes.
[[ -e $out/linguistic.safetensors && $(wc -c <"$out/input.f32") -ge 16777216 ]] || "$python" peers/model.py "$out" >&2

echo "Machine: $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader), $threads cores;" \
    "PyTorch $("$python" -c 'import torch; print(torch.__version__)'); $(date -u +%F); \`bench/gpu.sh $rounds\`"
echo
echo "### RoBERTa-large with two K-Adapters"
for dtype in f32:float32 bf16:bfloat16 f16:float16; do
    echo
    echo "#### ${dtype%:*}"
    echo
    "$python" peers/compare.py "$out" --rounds "$rounds" --shapes 1x32,1x128,8x128,32x128 \
        "kadapter=$bench peer $out cuda:0,${dtype%:*} plugin $library" \
        "pytorch=$python peers/pytorch_peer.py $out $threads cuda ${dtype#*:}"
done
echo
echo "### The same on the GPU and on the CPU, f32"
echo
"$python" peers/compare.py "$out" --rounds 3 --shapes 1x32,8x128 \
    "cuda=$bench peer $out cuda:0 plugin $library" "cpu=$bench peer $out $threads plugin $library"
echo
echo "### One training step of an adapter (batch 32, f32)"
echo
echo '```text'
echo "kadapter: $("$bench" train-step 40 cuda:0)"
echo
echo "PyTorch: $("$python" peers/pytorch_train.py 40 "$threads" cuda)"
echo '```'
