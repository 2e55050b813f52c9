#!/usr/bin/env bash
# From a fresh machine (Debian or Ubuntu) to a running Deltafan: installs what is missing, builds while the services start,
# starts receiver and processor, sends a row through and takes it back. Safe to run again: what is there stays.
# `./quick_start.sh help` says what else it can do.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
STATE=$ROOT/.state/default
STACK=("$ROOT/stack/stack")
# shellcheck source-path=SCRIPTDIR source=stack/lib/ui.sh
. "$ROOT/stack/lib/ui.sh"
# shellcheck source-path=SCRIPTDIR source=stack/lib/rust.sh
. "$ROOT/stack/lib/rust.sh"

MIN_BUILD_MIB=4096 # what a first release build takes, with room
PROBE_SECONDS=30   # a healthy pipeline takes milliseconds
PROBE_DEVICE=quick-start-probe

usage() {
    cat <<'END'
usage: ./quick_start.sh [--yes] [--port-offset N] [VERB]

  (no verb)        installs what is missing, builds, starts everything, sends a probe row through
  stop             stops everything; data stays
  status           what runs, since when, on which port
  logs [-f] [PART]
  sql "…"          runs SQL as the owner of the database; without SQL an interactive psql
  redis-cli …
  clean            stops everything and deletes its data (asks first)

  --yes            asks nothing
  --port-offset N  adds N to every port (remembered)
END
}

# build: unless DELTAFAN_BIN_DIR names programs that were built elsewhere
build() {
    [[ -z ${DELTAFAN_BIN_DIR:-} ]] || return 0
    local since log=$STATE/logs/build.log free
    since=$(now_ms)
    mkdir -p "${log%/*}"
    if [[ ! -x $ROOT/target/release/deltafan ]]; then
        free=$(df -Pm -- "$ROOT" | awk 'NR == 2 { print $4 }')
        ((free >= MIN_BUILD_MIB)) || die "only $free MiB are free in $ROOT, a build needs $MIN_BUILD_MIB"
        say "  building (minutes, the first time; its output: ${log#"$ROOT/"}) …"
    fi
    (cd "$ROOT" && cargo build --release --locked -p deltafan -p webhook-sink) </dev/null >"$log" 2>&1 || {
        tail -n 25 "$log" >&2
        die "the build failed" "its whole output: $log"
    }
    done_step build "$since" target/release
}

# The probe ------------------------------------------------------------------------------------------------------------

score_of() { "${STACK[@]}" redis-cli ZSCORE engagement:10min "$1"; }
stored_id() { curl -fsS --max-time 5 "${WEBHOOK_URL%/webhook}/events?device=$PROBE_DEVICE&limit=20" | jq -e --argjson id "$1" 'any(.events[]; .id == $id)' >/dev/null; }

# is_score CONTENT NUMBER: Redis prints 8.001 as 8.0009999999999994, so they are compared as numbers
is_score() { awk -v a="$(score_of "$1")" -v b="$2" 'BEGIN { d = a - b; exit !(d > -0.0005 && d < 0.0005) }'; }

# within WHAT COMMAND…
within() {
    local what=$1 deadline=$(($(now_ms) + PROBE_SECONDS * 1000))
    shift
    until "$@" 2>/dev/null; do
        (($(now_ms) < deadline)) || die "the probe row was not $what within $PROBE_SECONDS s" \
            "./quick_start.sh status" "./quick_start.sh logs stream-processor" "./quick_start.sh logs kafka-connect"
        sleep 0.02
    done
}

# probe: a row of the content that has rested longest goes through to both sinks, and is taken back.
probe() {
    local since content before id recent
    since=$(now_ms)
    IFS='|' read -r content recent < <("${STACK[@]}" sql -At "
        SELECT c.id, count(e.id) FROM content c
        LEFT JOIN engagement_events e ON e.content_id = c.id AND e.event_ts > now() - interval '11 min'
        GROUP BY c.id ORDER BY count(e.id), c.id LIMIT 1")
    [[ -n $content ]] || die "the table content is empty, so there is nothing to send a probe for"
    before=$(score_of "$content")
    id=$("${STACK[@]}" sql -qAt "
        INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device)
        VALUES (uuid_generate_v4(), '$content', 'play', 8000, '$PROBE_DEVICE') RETURNING id")
    # shellcheck disable=SC2064 # the row of this very probe, also when interrupted
    trap "'${STACK[0]}' sql -q 'DELETE FROM engagement_events WHERE id = $id' || true" EXIT
    within "at the receiver" stored_id "$id"
    if ((recent == 0)); then within "in Redis" is_score "$content" "$(awk -v b="$before" 'BEGIN { print b + 8 }')"; fi
    done_step 'probe row' "$since" "in Redis and at the receiver"
    since=$(now_ms)
    trap - EXIT
    "${STACK[@]}" sql -q "DELETE FROM engagement_events WHERE id = $id"
    if ((recent == 0)); then within "taken back in Redis" is_score "$content" "${before:-0}"; fi
    done_step 'taken back' "$since" "the leaderboard is as before"
}

# Everything -----------------------------------------------------------------------------------------------------------

address() { sed -n "s/^$1=//p" "$STATE/env"; }

start_all() {
    local began services
    began=$(now_ms)
    heading "Deltafan"
    "${STACK[@]}" ports
    "${STACK[@]}" packages "${INSTALL_ARGS[@]}"
    [[ -n ${DELTAFAN_BIN_DIR:-} ]] || need_rust "$YES"
    "${STACK[@]}" up &
    services=$!
    # An interrupted or failed build must not leave the start half-way.
    (build) || {
        wait "$services" || true
        exit 1
    }
    wait "$services" || exit 1
    "${STACK[@]}" up webhook-sink stream-processor
    WEBHOOK_URL=$(address WEBHOOK_URL)
    probe
    what_to_try "$began"
}

what_to_try() {
    cat >&2 <<END

${UI_BOLD}Deltafan runs.${UI_OFF} $(elapsed "$1"). To try:

  ./quick_start.sh sql "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device) SELECT uuid_generate_v4(), id, 'play', 8000, 'readme-test' FROM content LIMIT 1;"
  ./quick_start.sh redis-cli ZREVRANGE engagement:10min 0 5 WITHSCORES
  ${WEBHOOK_URL%/webhook}   the receiver's dashboard

  ./quick_start.sh status · logs [PART] · stop · clean
END
}

main() {
    local verb
    YES=no
    INSTALL_ARGS=()
    while [[ ${1:-} == -* ]]; do
        case $1 in
        --yes) YES=yes INSTALL_ARGS=(--yes) && shift ;;
        --port-offset) STACK+=(--port-offset "${2:?--port-offset needs a number}") && shift 2 ;;
        -h | --help) usage && return ;;
        *) die "unknown option $1" "./quick_start.sh help" ;;
        esac
    done
    verb=${1:-start}
    [[ $# == 0 ]] || shift
    case $verb in
    start) start_all ;;
    stop) "${STACK[@]}" down ;;
    status) "${STACK[@]}" status ;;
    logs) exec "${STACK[@]}" logs "$@" ;;
    sql) exec "${STACK[@]}" sql "$@" ;;
    redis-cli) exec "${STACK[@]}" redis-cli "$@" ;;
    clean) "${STACK[@]}" clean "${INSTALL_ARGS[@]}" "$@" ;;
    help) usage ;;
    *) die "unknown verb '$verb'" "./quick_start.sh help" ;;
    esac
}

main "$@"
