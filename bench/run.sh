#!/usr/bin/env bash
# Speed and memory beside the peers, all in one run on this machine. Needs Python 3.10+ and about 10 GB of disk for the peers' wheels
# and the model. Writes Markdown to stdout.
#
#   bench/run.sh [THREADS] [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")"
threads=${1:-$(nproc)} rounds=${2:-9}
target=${CARGO_TARGET_DIR:-../target}
suffix=so && [[ $(uname) == Darwin ]] && suffix=dylib

{
    cargo build --release --package kadapter-bench --package kadapter-factual --package kadapter-host
    cargo xtask plugins
    [[ -x .venv/bin/python ]] || python3 -m venv .venv
    .venv/bin/pip install --quiet --requirement peers/requirements.txt
    [[ -e out/linguistic.safetensors && -e out/input.f32 ]] || .venv/bin/python peers/model.py out
} >&2

# Keys, trust and cache of this clone, where `cargo xtask plugins` has made them.
export KADAPTER_HOME=$target/home
bench=$target/release/kadapter-bench kadapter=$target/release/kadapter
echo "Machine: $(lscpu 2>/dev/null | sed -n 's/^Model name: *//p'), $threads threads; $(date -u +%F); \`bench/run.sh $threads $rounds\`"
echo
echo "### RoBERTa-large with two K-Adapters, float32"
echo
.venv/bin/python peers/compare.py out --rounds "$rounds" \
    "kadapter=$bench peer out $threads plugin $target/release/libkadapter_factual.$suffix" \
    "onnxruntime=.venv/bin/python peers/onnxruntime_peer.py out $threads" \
    "pytorch=.venv/bin/python peers/pytorch_peer.py out $threads"
echo
echo "### The same adapters through the plugin and compiled in"
echo
.venv/bin/python peers/compare.py out --rounds "$rounds" --shapes 1x32,1x128 \
    "plugin=$bench peer out $threads plugin $target/release/libkadapter_factual.$suffix" \
    "builtin=$bench peer out $threads builtin"
echo
echo "### Eight tasks that share two adapters, one text (MiniLM)"
echo
"$bench" tasks tasks/kadapter.toml 101
echo
echo "### From process start to the first answer on the embedded default, and peak memory"
echo
.venv/bin/python peers/start.py "$kadapter" ../examples/relation/kadapter.toml
