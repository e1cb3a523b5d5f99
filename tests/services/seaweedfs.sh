# SeaweedFS: an S3 server that keeps conditions. Every part of it gets a port, so that two runs do not meet.
seaweedfs() {
    local master volume filer s3 folder="$work/seaweedfs"
    master="$(free_port)" volume="$(free_port)" filer="$(free_port)" s3="$(free_port)"
    mkdir -p "$folder"
    cat >"$folder/s3.json" <<JSON
{"identities": [{"name": "kadapter", "actions": ["Admin"],
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]},
 {"name": "reader", "actions": ["Read", "List"],
  "credentials": [{"accessKey": "kadapter-reader", "secretKey": "kadapter-reader-secret"}]}]}
JSON
    server seaweedfs "$cache/python/bin/weed" server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir="$folder" \
        -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=300 \
        -master.port="$master" -master.port.grpc="$(free_port)" -volume.port="$volume" -volume.port.grpc="$(free_port)" \
        -filer -filer.port="$filer" -filer.port.grpc="$(free_port)" \
        -s3 -s3.port="$s3" -s3.port.grpc="$(free_port)" -s3.config="$folder/s3.json"
    answers seaweedfs "http://127.0.0.1:$s3/"
    bucket "http://127.0.0.1:$s3"
    export KADAPTER_TEST_SEAWEEDFS="http://127.0.0.1:$s3"
}
seaweedfs
