# A new database: pgbench with two clients and fixed seeds, then queries
set -eu
bin=/usr/lib/postgresql/15/bin
if [ "$(id -u)" = 0 ] && [ -z "${DROPPED:-}" ]; then
    # postgres refuses root. The capability stays, for the working folder is root's alone.
    export DROPPED=1
    exec setpriv --reuid=postgres --regid=postgres --clear-groups \
        --bounding-set=-all,+dac_override --inh-caps=-all,+dac_override \
        --ambient-caps=-all,+dac_override bash "$0"
fi
umask 077
mkdir data
chmod 700 data
"$bin/initdb" -D data -U smoke -A trust -E UTF8 --locale=C --no-sync >initdb.log
cat >>data/postgresql.conf <<CONF
listen_addresses = ''
unix_socket_directories = '$PWD'
shared_buffers = 8MB
max_connections = 20
fsync = off
max_parallel_workers_per_gather = 2
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
CONF
"$bin/pg_ctl" -D data -s -w -l server.log start
export PGHOST=$PWD PGUSER=smoke PGDATABASE=postgres
"$bin/pgbench" -i -q -s 1 2>/dev/null
"$bin/pgbench" -c 2 -j 2 -t 400 -M prepared --random-seed=7 2>&1 | sed -n '/processed/p; /failed/p'
"$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -f queries.sql
"$bin/pg_ctl" -D data -s -w -m smart stop
grep -E 'ERROR|FATAL|PANIC|terminated by' server.log || true
