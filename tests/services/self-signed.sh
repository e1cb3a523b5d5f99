# A server of HTTPS that nobody vouches for: clients must refuse it in words.
self_signed() {
    local port folder="$work/self-signed"
    port="$(free_ports 1)"
    mkdir -p "$folder"
    cat >"$folder/server.py" <<'PYTHON'
import datetime, http.server, ipaddress, ssl, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder, port = sys.argv[1], int(sys.argv[2])
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
now = datetime.datetime.now(datetime.timezone.utc)
address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(1).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    .add_extension(address, critical=False).sign(key, hashes.SHA256()))
with open(f"{folder}/pair.pem", "wb") as file:
    file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    file.write(certificate.public_bytes(serialization.Encoding.PEM))
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/pair.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
PYTHON
    server self-signed "$python" "$folder/server.py" "$folder" "$port"
    answers self-signed --insecure "https://127.0.0.1:$port/"
    export KADAPTER_TEST_SELF_SIGNED="https://127.0.0.1:$port"
}
self_signed
