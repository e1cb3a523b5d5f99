# The OCI registry as Debian builds it.
docker_registry() {
    local port folder="$work/docker-registry"
    port="$(free_ports 1)"
    mkdir -p "$folder"
    cat >"$folder/config.yml" <<YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: "$folder/data"}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
YAML
    server docker-registry docker-registry serve "$folder/config.yml"
    answers docker-registry "http://127.0.0.1:$port/v2/"
    export KADAPTER_TEST_OCI="127.0.0.1:$port"
}
docker_registry
