# SeaweedFS: an S3 server that keeps conditions. Every part of it gets a port, so that two runs do not meet.
seaweedfs() {
    local master volume filer s3 calls folder="$work/seaweedfs"
    read -ra calls <<<"$(free_ports 8)"
    master="${calls[4]}" volume="${calls[5]}" filer="${calls[6]}" s3="${calls[7]}"
    mkdir -p "$folder"
    cat >"$folder/s3.json" <<JSON
{"identities": [{"name": "kadapter", "actions": ["Admin"],
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]},
 {"name": "reader", "actions": ["Read", "List"],
  "credentials": [{"accessKey": "kadapter-reader", "secretKey": "kadapter-reader-secret"}]}]}
JSON
    server seaweedfs "$cache/python/bin/weed" server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir="$folder" \
        -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=300 \
        -master.port="$master" -master.port.grpc="${calls[0]}" -volume.port="$volume" -volume.port.grpc="${calls[1]}" \
        -filer -filer.port="$filer" -filer.port.grpc="${calls[2]}" \
        -s3 -s3.port="$s3" -s3.port.grpc="${calls[3]}" -s3.config="$folder/s3.json"
    answers seaweedfs "http://127.0.0.1:$s3/"
    bucket "http://127.0.0.1:$s3"
    export KADAPTER_TEST_SEAWEEDFS="http://127.0.0.1:$s3"
}
seaweedfs
