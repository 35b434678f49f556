# A new database, a server, four clients at once, and a clean end.
set -eu
common=(--no-defaults --user="$(id -un)" --datadir="$PWD/data")
mariadb-install-db "${common[@]}" --auth-root-authentication-method=normal --skip-name-resolve \
    --skip-test-db --innodb-flush-log-at-trx-commit=0 >install.log 2>&1 ||
    { cat install.log; exit 1; }
/usr/sbin/mariadbd "${common[@]}" --skip-networking --socket="$PWD/db.sock" --pid-file="$PWD/pid" \
    --innodb-buffer-pool-size=16M --innodb-flush-method=fsync --innodb-flush-log-at-trx-commit=0 \
    --innodb-log-file-size=8M --character-set-server=utf8mb4 --collation-server=utf8mb4_bin \
    >server.log 2>&1 &
client=(mariadb --no-defaults --user=root --socket="$PWD/db.sock" --batch --skip-column-names
    --default-character-set=utf8mb4)
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # when something failed
until "${client[@]}" -e 'SELECT 1' >/dev/null 2>&1; do
    kill -0 $! || { cat server.log; exit 1; }
    sleep 0.05
done
"${client[@]}" -e 'CREATE DATABASE smoke'
pids=()
for number in 1 2 3 4; do
    sed "s/NUMBER/$number/g" tables.sql | "${client[@]}" smoke >"out$number" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
cat out1 out2 out3 out4
"${client[@]}" -e 'SHUTDOWN'
wait %1
echo "server ended with $?"
grep -E '\[ERROR\]|signal' server.log || true
