# moto: AWS as the tests of half the world know it.
moto() {
    local port
    port="$(free_ports 1)"
    server moto "$cache/python/bin/moto_server" -H 127.0.0.1 -p "$port"
    answers moto "http://127.0.0.1:$port/"
    bucket "http://127.0.0.1:$port"
    export KADAPTER_TEST_MOTO="http://127.0.0.1:$port"
}
moto
