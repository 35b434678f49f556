# Fetches, posts and fails, one by one and eight at a time, by HTTPS from a server of our own.
set -eu
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
    -out crt.pem -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2>/dev/null
"$PYTHON" file_server.py >port 2>server.log &
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # when something failed
until [ -s port ]; do sleep 0.02; done
read -r port <port
get=(curl --silent --show-error --no-progress-meter --cacert crt.pem)
url="https://127.0.0.1:$port"
"${get[@]}" "$url/data.bin" | sha256sum
"${get[@]}" --compressed "$url/text/3000" | sha256sum
"${get[@]}" --parallel --parallel-max 8 -o 'part#1' "$url/text/[1-60]"
cat part{1..60} | sha256sum
for ((i = 0; i < 8; i++)); do
    "${get[@]}" -r "$((i * 1000000))-$((i * 1000000 + 999999))" "$url/data.bin" -o "range$i" &
done
for job in $(jobs -p | tail -n 8); do wait "$job"; done
cat range? | sha256sum
"${get[@]}" -F file=@data.bin -F word=value "$url/post"
"${get[@]}" -d "$(printf '%*s' 60000 x)" "$url/post"
"${get[@]}" -o /dev/null -w '%{http_code} %{size_download}\n' "$url/absent"
"${get[@]}" -I "$url/text/7" | tr -d '\r' | sed '/^Date/d'
curl --silent "$url/text/1" || echo "refused without the certificate: $?"
"${get[@]}" "$url/stop"
wait %1
echo "server ended with $?"
