#!/usr/bin/env bash
# Publishing and fetching one large weights file, beside a plain copy plus hashing: time, ratio and peak memory, engines in turn.
# Needs GNU time, and five times the file's size on disk for a while. Writes Markdown to stdout.
#
#   bench/transfer.sh [MEBIBYTES] [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")"
mebibytes=${1:-1400} rounds=${2:-5}
target=$(realpath "${CARGO_TARGET_DIR:-../target}") kadapter=${KADAPTER:-}
if [[ -z $kadapter ]]; then
    cargo build --release --package kadapter-host >&2
    kadapter=$target/release/kadapter
fi
folder=$(mktemp -d "$target/transfer.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# Makes a package of a backbone of random numbers: package NAME BYTES
package() {
    local folder=$1 bytes=$2 header
    mkdir "$folder"
    header=$(printf '{"weight":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' $((bytes / 4)) "$bytes")
    while ((${#header} % 8)); do header+=" "; done
    {
        # shellcheck disable=SC2059
        printf "\\x$(printf %02x ${#header})\0\0\0\0\0\0\0"
        printf %s "$header"
        head -c "$bytes" /dev/urandom
    } >"$folder/weights.safetensors"
    echo '{"hidden_size":2}' >"$folder/config.json"
    echo '{"version":"1.0"}' >"$folder/tokenizer.json"
    echo '# Random numbers' >"$folder/README.md"
    cat >"$folder/kadapter-package.toml" <<END
schema = 1
[package]
name = "bench/$folder"
version = "1.0.0"
kind = "backbone"
license = "MIT"
description = "Random numbers"
[backbone]
architecture = "roberta"
config = "config.json"
weights = "weights.safetensors"
tokenizer = "tokenizer.json"
END
}
package base $((mebibytes * 1024 * 1024))
package small 1024
cat >kadapter.toml <<'END'
[registries]
bench = "registry"
[backbone]
package = "bench/base"
version = "^1"
[tasks.features]
kind = "features"
stack = []
END

# The fastest program at hand: OpenSSL uses the processor's SHA instructions, as kadapter does.
if command -v openssl >/dev/null; then hash=(openssl dgst -sha256); else hash=(sha256sum); fi

# Runs a command and adds "seconds kilobytes" to a file.
timed() {
    local log=$1
    shift
    command time --append --output="$log" --format='%e %M' "$@" >/dev/null
}
# What one engine wrote is removed before the next begins, so that each writes into memory that was just given back: a virtual
# machine may have to ask for other memory first. The first round warms up and does not count.
export KADAPTER_HOME=$folder/home
"$kadapter" publish base --registry registry >/dev/null
# Where releases go: a registry that is there, with one small release.
"$kadapter" publish small --registry there >/dev/null
"$kadapter" lock >/dev/null
for ((round = 0; round <= rounds; round++)); do
    rm -rf home
    sync .
    timed plain sh -c 'cp --reflink=never base/weights.safetensors copy && sync copy && "$@" copy' sh "${hash[@]}"
    rm copy
    sync .
    cp -r there another
    timed publish "$kadapter" publish base --registry another
    rm -rf another
    sync .
    timed fetch "$kadapter" fetch --frozen
done

echo "Machine: $(lscpu 2>/dev/null | sed -n 's/^Model name: *//p'), $(nproc) threads; $(date -u +%F); \`bench/transfer.sh $mebibytes $rounds\`;" \
    "${mebibytes} MiB of random numbers; plain is \`cp\`, \`sync\` and \`${hash[*]}\` one after the other"
echo
echo "| | seconds (median) | plain / this (median of rounds) | peak memory, MB |"
echo "| --- | ---: | ---: | ---: |"
for engine in plain publish fetch; do
    paste -d' ' plain "$engine" | awk -v engine="$engine" '
        function median(values, count,   i, j, swap) {
            for (i = 1; i <= count; i++) for (j = i + 1; j <= count; j++)
                if (values[j] < values[i]) { swap = values[i]; values[i] = values[j]; values[j] = swap }
            return (values[int((count + 1) / 2)] + values[int(count / 2) + 1]) / 2
        }
        NR > 1 { seconds[NR - 1] = $3; ratio[NR - 1] = $1 / $3; if ($4 > peak) peak = $4 }
        END {
            printf "| %s | %.2f | %.2f | %s |\n", engine, median(seconds, NR - 1), median(ratio, NR - 1),
                engine == "plain" ? "" : sprintf("%.0f", peak * 1024 / 1e6)
        }'
done
