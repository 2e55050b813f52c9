#!/usr/bin/env bash
# Where there is no cluster yet: makes it with the owner and the database that the environment names, by a server that
# listens on its socket only. Then the server itself, with the same arguments.
set -euo pipefail

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    chmod 700 "$PGDATA"
    # The arguments are words, as with the official image.
    # shellcheck disable=SC2086
    initdb -U "$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") ${POSTGRES_INITDB_ARGS:-}
    printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -w start -o "$(printf '%q ' "${@:2}" -c listen_addresses= -p 5432)"
    psql -X -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
