# shellcheck shell=bash
# Where a stack lives: its state folder, its ports, its secrets, and the addresses it tells others (`env`).
# Two stacks share nothing but the jars: another state folder and another port offset make another stack.

PARTS=(postgres redis kafka kafka-connect webhook-sink stream-processor)
INFRASTRUCTURE=(postgres redis kafka kafka-connect)
HOST=127.0.0.1
DATABASE=streaming_db
HIGHEST_PORT=9464 # of those below, without offset
DATABASE_OWNER=user
MIN_FREE_MIB=1024 # WAL, topic segments and jars of a young stack fit into this several times

# use_state FOLDER [OFFSET]: settles folder and ports; changes nothing on disk.
use_state() {
    STATE=$(realpath -m -- "$1")
    STATE_ID=$(printf '%s' "$STATE" | sha256sum | cut -c1-12)
    RUN=$STATE/run
    LOGS=$STATE/logs
    OFFSET_FILE=$STATE/port-offset
    if [[ $STATE == "$ROOT/.state/default" ]]; then SECRETS=$ROOT/.env; else SECRETS=$STATE/.env; fi

    local saved=''
    if [[ -r $OFFSET_FILE ]]; then saved=$(<"$OFFSET_FILE"); fi
    PORT_OFFSET=${2:-${saved:-0}}
    [[ $PORT_OFFSET =~ ^[0-9]{1,5}$ ]] || die "--port-offset $PORT_OFFSET is not a number"
    local first_ephemeral=65536
    if [[ -r /proc/sys/net/ipv4/ip_local_port_range ]]; then read -r first_ephemeral _ </proc/sys/net/ipv4/ip_local_port_range; fi
    if [[ -n ${2:-} ]] && ((PORT_OFFSET > 0 && HIGHEST_PORT + PORT_OFFSET >= first_ephemeral)); then
        die "--port-offset $PORT_OFFSET puts ports where outgoing connections take theirs from ($first_ephemeral and up)" \
            "take at most $((first_ephemeral - HIGHEST_PORT - 1))"
    fi
    if [[ -n $saved && $saved != "$PORT_OFFSET" ]]; then
        local part
        for part in "${PARTS[@]}"; do
            if is_alive "$part"; then
                die "this stack runs with --port-offset $saved ($part is up)" \
                    "stop it first, or take another --state folder for a second stack"
            fi
        done
    fi

    POSTGRES_PORT=$((5432 + PORT_OFFSET))
    REDIS_PORT=$((6379 + PORT_OFFSET))
    KAFKA_PORT=$((9092 + PORT_OFFSET))
    KAFKA_CONTROLLER_PORT=$((9093 + PORT_OFFSET))
    CONNECT_PORT=$((8083 + PORT_OFFSET))
    WEBHOOK_PORT=$((5001 + PORT_OFFSET))
    ADMIN_PORT=$((9464 + PORT_OFFSET))
    KAFKA_BROKERS=$HOST:$KAFKA_PORT
    CONNECT_URL=http://$HOST:$CONNECT_PORT
    # Where they listen and what they say of it are one here; in containers they are not.
    KAFKA_LISTENERS=PLAINTEXT://$HOST:$KAFKA_PORT
    KAFKA_ADVERTISED=$KAFKA_LISTENERS
    CONNECT_ADVERTISED=$HOST
    RECEIVER_URL='' # another than ours, where the secrets file says so
}

# ports_of PART: every port the part listens on, the one users meet first.
ports_of() {
    case $1 in
    postgres) echo "$POSTGRES_PORT" ;;
    redis) echo "$REDIS_PORT" ;;
    kafka) echo "$KAFKA_PORT $KAFKA_CONTROLLER_PORT" ;;
    kafka-connect) echo "$CONNECT_PORT" ;;
    webhook-sink) echo "$WEBHOOK_PORT" ;;
    stream-processor) echo "$ADMIN_PORT" ;;
    esac
}

# open_state: makes the folder, settles the offset, makes or reads the secrets, writes the addresses.
open_state() {
    mkdir -p -- "$RUN" "$LOGS" || die "cannot make the state folder $STATE"
    # Others may pass through (Postgres runs under an account of its own), not look around.
    chmod 711 "$STATE" "$RUN"
    if [[ $STATE == "$ROOT/.state/"* ]]; then chmod 711 "$ROOT/.state"; fi
    local free
    free=$(df -Pm -- "$STATE" | awk 'NR == 2 { print $4 }')
    ((free >= MIN_FREE_MIB)) ||
        die "only $free MiB are free for $STATE, at least $MIN_FREE_MIB are needed" "free some space, or name a folder elsewhere with --state"
    printf '%s\n' "$PORT_OFFSET" >"$OFFSET_FILE"
    with_lock secrets make_secrets
    read_secrets
    write_env
}

# with_lock NAME COMMAND…: one at a time per state folder. Runs in a subshell; what COMMAND spawns does not inherit the lock.
# macOS has no flock: there nothing but the secrets is made under a lock, once.
with_lock() {
    local lock=$RUN/$1.lock
    shift
    (
        if command -v flock >/dev/null; then flock 9; fi
        "$@"
    ) 9>"$lock"
}

random_word() { head -c 24 /dev/urandom | base64 -w0 | tr '+/' '-_'; }

# make_secrets: fills what .env.example names and the secrets file lacks; a value that is there is never changed.
make_secrets() {
    local line key value
    if [[ ! -e $SECRETS ]]; then
        (umask 077 && grep -vE '^[A-Z_]+=' "$ROOT/.env.example" | sed '/^# Owner/,$d' >"$SECRETS")
    fi
    while IFS= read -r line; do
        key=${line%%=*}
        if [[ ! $line =~ ^[A-Z_]+=$ ]] || grep -qE "^$key=[^[:space:]]" "$SECRETS"; then continue; fi
        case $key in
        WEBHOOK_SECRET) value=whsec_$(head -c 32 /dev/urandom | base64 -w0) ;;
        *) value=$(random_word) ;;
        esac
        if grep -qE "^$key=" "$SECRETS"; then
            local rest
            rest=$(grep -vE "^$key=" "$SECRETS" || true)
            printf '%s\n' "$rest" >"$SECRETS"
        fi
        # An editor may have left the last line without its end.
        if [[ -n $(tail -c 1 -- "$SECRETS") ]]; then echo >>"$SECRETS"; fi
        printf '%s=%s\n' "$key" "$value" >>"$SECRETS"
    done <"$ROOT/.env.example"
    chmod 600 "$SECRETS"
}

# read_secrets: takes KEY=VALUE lines as data, never as shell code.
read_secrets() {
    local line key value
    [[ -r $SECRETS ]] || die "cannot read $SECRETS"
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line%$'\r'}
        [[ $line =~ ^[[:space:]]*([A-Z][A-Z0-9_]*)=(.*)$ ]] || continue
        key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
        if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
        case $key in
        POSTGRES_PASSWORD | CDC_PASSWORD | PROCESSOR_PASSWORD | WEBHOOK_SECRET) printf -v "$key" '%s' "$value" ;;
        WEBHOOK_URL) RECEIVER_URL=$value ;;
        esac
    done <"$SECRETS"
}

url_encode() {
    local LC_ALL=C text=$1 out='' char i
    for ((i = 0; i < ${#text}; i++)); do
        char=${text:i:1}
        case $char in
        [a-zA-Z0-9._~-]) out+=$char ;;
        *) printf -v char '%%%02X' "'$char" && out+=$char ;;
        esac
    done
    printf '%s' "$out"
}

print_env() {
    cat <<END
POSTGRES_HOST=$HOST
POSTGRES_PORT=$POSTGRES_PORT
POSTGRES_DB=$DATABASE
POSTGRES_USER=$DATABASE_OWNER
POSTGRES_URL=postgres://$DATABASE_OWNER:$(url_encode "$POSTGRES_PASSWORD")@$HOST:$POSTGRES_PORT/$DATABASE
PROCESSOR_DATABASE_URL=postgres://processor:$(url_encode "$PROCESSOR_PASSWORD")@$HOST:$POSTGRES_PORT/$DATABASE
REDIS_URL=redis://$HOST:$REDIS_PORT
KAFKA_BROKERS=$KAFKA_BROKERS
CONNECT_URL=$CONNECT_URL
WEBHOOK_LISTEN=$HOST:$WEBHOOK_PORT
WEBHOOK_URL=${RECEIVER_URL:-http://$HOST:$WEBHOOK_PORT/webhook}
WEBHOOK_STORE=$STATE/webhook-sink/events.db
WEBHOOK_SECRET=$WEBHOOK_SECRET
ADMIN_LISTEN=$HOST:$ADMIN_PORT
END
}

write_env() {
    local temporary
    temporary=$(mktemp -- "$STATE/env.XXXXXX") # mktemp makes it 0600
    print_env >"$temporary"
    mv -f -- "$temporary" "$STATE/env"
}

# render TEMPLATE VARIABLE…: prints the file with ${VARIABLE} replaced; other ${…} are left as they are.
render() {
    local text name
    text=$(<"$1")
    shift
    for name in "$@"; do text=${text//"\${$name}"/"${!name}"}; done
    printf '%s\n' "$text"
}
