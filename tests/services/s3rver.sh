# s3rver: an S3 server that ignores conditions, which no registry may be put into.
s3rver() {
    local port folder="$cache/s3rver"
    port="$(free_ports 1)"
    if [ ! -x "$folder/node_modules/.bin/s3rver" ]; then
        say "installing s3rver"
        mkdir -p "$folder"
        npm install --silent --no-audit --no-fund --prefix "$folder" s3rver@3.7.1 >"$work/npm.log" 2>&1 ||
            { tail -n 20 "$work/npm.log" >&2; exit 1; }
    fi
    # It knows one pair of keys and wants it so.
    server s3rver node "$folder/node_modules/.bin/s3rver" --address 127.0.0.1 --port "$port" --directory "$work/s3rver" \
        --configure-bucket "$KADAPTER_TEST_BUCKET"
    answers s3rver "http://127.0.0.1:$port/"
    export KADAPTER_TEST_S3RVER="http://127.0.0.1:$port"
}
s3rver
