# Digests, a cipher, keys and signatures, certificates, and a server that serves three clients.
set -eu
for name in md5 sha256 sha3-512 blake2b512; do openssl dgst -"$name" data.bin; done
openssl dgst -sha256 -hmac secret data.bin
openssl enc -aes-256-cbc -pbkdf2 -S 0102030405060708 -k secret -in data.bin -out data.enc
openssl enc -d -aes-256-cbc -pbkdf2 -S 0102030405060708 -k secret -in data.enc -out data.dec
cmp data.bin data.dec
openssl genrsa -out rsa.pem 2048 2>/dev/null
openssl rsa -in rsa.pem -pubout -out rsa.pub 2>/dev/null
openssl dgst -sha256 -sign rsa.pem -out data.sig data.bin
openssl dgst -sha256 -verify rsa.pub -signature data.sig data.bin
openssl ecparam -genkey -name prime256v1 -noout -out ec.pem
openssl req -x509 -key ec.pem -subj /CN=here -days 2 -out ec.crt
openssl verify -CAfile ec.crt ec.crt
openssl x509 -in ec.crt -noout -subject -issuer
openssl pkcs12 -export -inkey ec.pem -in ec.crt -passout pass:x -out ec.p12
openssl pkcs12 -in ec.p12 -passin pass:x -nodes 2>&1 | grep -c BEGIN
openssl s_server -unix tls.sock -cert ec.crt -key ec.pem -naccept 3 -rev -quiet >server.log 2>&1 &
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # when something failed
until [ -S tls.sock ]; do sleep 0.02; done
server=$!
for version in -tls1_2 -tls1_3 -tls1_3; do
    # The client ends at the end of its input, which must not come before the answer.
    coproc openssl s_client -unix tls.sock -CAfile ec.crt -verify_return_error -quiet -no_ign_eof \
        "$version" 2>/dev/null
    client=$COPROC_PID
    echo "hello over TLS" >&"${COPROC[1]}"
    read -r answer <&"${COPROC[0]}"
    echo "$version: $answer"
    exec {COPROC[1]}>&-
    wait "$client"
done
wait "$server"
echo "server ended with $?"
