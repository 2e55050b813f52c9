# shellcheck shell=bash
# Postgres: a cluster of our own, never one of the system's. No Unix socket (a path of a deep folder would be too long for
# one), TCP on loopback with passwords.
#
# Postgres refuses to run as root. Where root starts the stack, the cluster belongs to the account `postgres` that the
# package made, and lies in the state folder if that account can get there, else (say, below /root) in
# /var/lib/deltafan/ID. See docs/adr/0102.

# postgres_bin: the folder of the newest server programs (14 or later)
postgres_bin() {
    local folder version newest=0 found=''
    for folder in /usr/lib/postgresql/*/bin /usr/local/pgsql/bin; do
        [[ -x $folder/postgres && -x $folder/initdb ]] || continue
        version=$("$folder/postgres" --version | grep -oE '[0-9]+' | head -n 1)
        if ((version >= 14 && version > newest)); then newest=$version found=$folder; fi
    done
    [[ -n $found ]] || return 1
    printf '%s' "$found"
}

# find_postgres: sets PGBIN, PGHOME (ours) and SPAWN_AS (the account, empty for our own)
find_postgres() {
    PGBIN=$(postgres_bin) || die "no Postgres server (14 or later) below /usr/lib/postgresql" "stack/stack install"
    PGHOME=$STATE/postgres
    SPAWN_AS=''
    [[ $EUID == 0 ]] || return 0
    SPAWN_AS=postgres
    id -u "$SPAWN_AS" >/dev/null 2>&1 || die "there is no account 'postgres' to run the database under" "stack/stack install"
    local moved=/var/lib/deltafan/$STATE_ID
    if [[ -e $moved ]]; then
        PGHOME=$moved/postgres
    elif [[ ! -e $PGHOME ]] && ! as_postgres test -x "$STATE"; then
        PGHOME=$moved/postgres
    fi
}

as_postgres() {
    if [[ -z $SPAWN_AS ]]; then
        (cd / && "$@")
    else
        (cd / && setpriv "--reuid=$SPAWN_AS" "--regid=$(id -g "$SPAWN_AS")" --init-groups "$@")
    fi
}

as_owner() { PGPASSWORD=$POSTGRES_PASSWORD PGCONNECT_TIMEOUT=10 "$PGBIN/psql" -X -h "$HOST" -p "$POSTGRES_PORT" -U "$DATABASE_OWNER" "$@"; }

make_cluster() {
    local account=${SPAWN_AS:-$(id -un)} password=$PGHOME/password
    mkdir -p -- "$PGHOME"
    if [[ $PGHOME == /var/lib/deltafan/* ]]; then
        chmod 711 /var/lib/deltafan "/var/lib/deltafan/$STATE_ID"
        printf '%s\n' "$STATE" >"/var/lib/deltafan/$STATE_ID/belongs-to"
    fi
    rm -rf -- "$PGHOME/data.new"
    chown "$account" "$PGHOME"
    chmod 700 "$PGHOME"
    (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" >"$password")
    chown "$account" "$password"
    # Named `data` only when complete: an interrupted initdb is begun again.
    as_postgres "$PGBIN/initdb" -D "$PGHOME/data.new" -U "$DATABASE_OWNER" --pwfile="$password" -E UTF8 --locale=C.UTF-8 \
        --auth-host=scram-sha-256 --auth-local=scram-sha-256 >>"$LOGS/postgres.log" 2>&1 ||
        part_failed postgres "could not make its cluster"
    rm -f -- "$password"
    printf "include 'deltafan.conf'\n" >>"$PGHOME/data.new/postgresql.conf"
    mv -- "$PGHOME/data.new" "$PGHOME/data"
}

# A crashed postmaster leaves its lock file; a process that happens to bear its pid now would keep Postgres from starting.
remove_stale_pidfile() {
    local file=$PGHOME/data/postmaster.pid pid
    [[ -e $file ]] || return 0
    read -r pid <"$file" || true
    if [[ $(readlink "/proc/$pid/cwd" 2>/dev/null) == "$PGHOME/data" ]]; then
        die "a Postgres that this stack did not start (pid $pid) runs on $PGHOME/data" "stop it: kill -INT $pid"
    fi
    rm -f -- "$file"
}

postgres_start() {
    find_postgres
    [[ -d $PGHOME/data ]] || make_cluster
    remove_stale_pidfile
    render "$ROOT/stack/config/postgresql.conf" HOST POSTGRES_PORT >"$PGHOME/data/deltafan.conf"
    chmod 644 "$PGHOME/data/deltafan.conf"
    spawn postgres "$PGBIN/postgres" -D "$PGHOME/data"
    await postgres 60 "$PGBIN/pg_isready" -q -h "$HOST" -p "$POSTGRES_PORT"
    make_database
}

# make_database: once per cluster and per change of init.sql
make_database() {
    local done_mark=$STATE/database wanted
    wanted=$(sha256sum <"$ROOT/init.sql")
    [[ ! -e $done_mark || $(<"$done_mark") != "$wanted" ]] || return 0
    local problem
    problem=$(as_owner -d postgres -Atqc "SELECT 1 FROM pg_database WHERE datname = '$DATABASE'" 2>&1) ||
        die "cannot log in to the database as '$DATABASE_OWNER': ${problem##*FATAL:}" \
            "if POSTGRES_PASSWORD in $SECRETS changed since the database was made, put the old one back"
    if [[ $problem != 1 ]]; then as_owner -d postgres -qc "CREATE DATABASE $DATABASE"; fi
    CDC_PASSWORD=$CDC_PASSWORD PROCESSOR_PASSWORD=$PROCESSOR_PASSWORD as_owner -d "$DATABASE" -q -f "$ROOT/init.sql" >>"$LOGS/postgres.log" 2>&1 ||
        part_failed postgres "did not take init.sql"
    printf '%s\n' "$wanted" >"$done_mark"
}

# INT is a fast shutdown: it sends what is left to Debezium, which may hang or be frozen. QUIT leaves that, and the rest,
# to crash recovery: nothing that was committed is lost.
postgres_stop() { stop_process postgres INT 15 QUIT 10; }
