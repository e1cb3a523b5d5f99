#!/usr/bin/env bash
# Fuzzes every target, one after another, from seeds that the repository has. Needs `cargo install cargo-fuzz` and a C++ compiler.
#
#   fuzz/run.sh [SECONDS] [TARGET …]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
shift || true
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=(manifest lock release package tensors pickle note data)
# libFuzzer's coverage flags are not stable in rustc; they change nothing of the language.
export RUSTC_BOOTSTRAP=1

seed() { # TARGET FILE …: copies what is there
    mkdir -p "corpus/$1"
    local target=$1 file
    shift
    for file in "$@"; do
        [[ -f $file ]] && cp "$file" "corpus/$target/$(cksum <"$file" | tr ' ' -)"
    done
    return 0
}
seed manifest ../examples/*/kadapter.toml ../bench/tasks/kadapter.toml
seed lock ../examples/*/kadapter.lock
mapfile -t records < <(find ../registry/seed/index -name '*.json')
seed release "${records[@]}"
mapfile -t small < <(find ../registry/seed/blobs -type f -size -64k)
for blob in "${small[@]}"; do
    if head -c 200 "$blob" | grep -q '^schema = '; then seed package "$blob"; fi
done
mapfile -t pickles < <(find ../tests/data -name '*.bin' -size -2M -o -name '*.pt' -size -2M)
seed pickle "${pickles[@]}"
mapfile -t weights < <(find ../tests/data -name '*.safetensors')
for file in "${weights[@]}"; do
    mkdir -p corpus/tensors
    head -c 65536 "$file" >"corpus/tensors/$(basename "$(dirname "$file")")-$(basename "$file")"
done
# The first byte chooses the format; each sample is tried as each.
mkdir -p corpus/data
for file in ../tests/data/labelled/* ../tests/data/official/data/*.json*; do
    for format in $(seq 0 12); do
        { printf "\\x$(printf %02x "$format")"; head -c 16384 "$file"; } >"corpus/data/$format-$(basename "$file")"
    done
done

for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    mkdir -p "corpus/$target"
    length=65536 && [[ $target == pickle ]] && length=1048576
    cargo fuzz run --release --fuzz-dir . "$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -max_len="$length" -print_final_stats=1
done
