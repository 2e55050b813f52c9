#!/usr/bin/env bash
# A Postgres of its own whose WAL is not for logical decoding: what registering the connector says of it.
#
# usage: not_logical.sh ROOT PORT
set -euo pipefail

ROOT=$1
for library in ui environment state process jars postgres connect; do
    # shellcheck source=/dev/null
    . "$ROOT/stack/lib/$library.sh"
done
folder=$(mktemp -d /tmp/deltafan-not-logical.XXXXXX)
use_state "$folder/state"
find_postgres
trap 'as_postgres "$PGBIN/pg_ctl" -D "$folder" -m immediate -s stop || true; rm -rf -- "$folder"' EXIT
if [[ -n $SPAWN_AS ]]; then chown "$SPAWN_AS" "$folder"; fi
as_postgres "$PGBIN/initdb" -D "$folder" -U "$DATABASE_OWNER" -A trust --no-sync >/dev/null
settings="-c listen_addresses=$HOST -c port=$2 -c unix_socket_directories= -c wal_level=replica -c fsync=off"
as_postgres "$PGBIN/pg_ctl" -D "$folder" -s -w -o "$settings" -l "$folder/log" start

# shellcheck disable=SC2034 # the library reads them
DATABASE=postgres POSTGRES_PORT=$2 POSTGRES_PASSWORD=hunter2
register_connector
