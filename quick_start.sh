#!/usr/bin/env bash
# From a fresh machine to a running Deltafan: in containers where a Docker engine answers, else (Debian or Ubuntu) as
# ordinary processes. Installs what is missing, builds, starts everything, sends a row through and takes it back. Safe to
# run again: what is there stays. `./quick_start.sh help` says what else it can do.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
STATE=$ROOT/.state/default
STACK=("$ROOT/stack/stack") # or "$ROOT/stack/docker/stack", which has the same verbs
# shellcheck source-path=SCRIPTDIR source=stack/lib/ui.sh
. "$ROOT/stack/lib/ui.sh"
# shellcheck source-path=SCRIPTDIR source=stack/lib/environment.sh
. "$ROOT/stack/lib/environment.sh"
# shellcheck source-path=SCRIPTDIR source=stack/lib/rust.sh
. "$ROOT/stack/lib/rust.sh"
# shellcheck source-path=SCRIPTDIR source=stack/lib/way.sh
. "$ROOT/stack/lib/way.sh"

MIN_BUILD_MIB=4096 # what a first release build takes, with room
PROBE_SECONDS=30   # a healthy pipeline takes milliseconds
PROBE_DEVICE=quick-start-probe

usage() {
    cat <<'END'
usage: ./quick_start.sh [--yes] [--docker | --native] [--port-offset N] [VERB]

  (no verb)        installs what is missing, builds, starts everything, sends a probe row through
  demo [OPTION…]   starts what does not run, shows where the dashboard is, and makes events until Ctrl-C: 20 a second,
                   with --rate N as many as you like (./deltafan generate --help tells all options)
  stop             stops everything; data stays
  status           what runs, since when, on which port
  logs [-f] [PART]
  sql "…"          runs SQL as the owner of the database; without SQL an interactive psql
  redis-cli …
  kafka TOOL …     topics, consumer-groups, console-consumer or transactions
  clean            stops everything and deletes its data (asks first)

  --yes            asks nothing
  --docker         in containers; --native as processes (default: containers where a Docker engine answers; remembered)
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

address() { sed -n "s/^$1=//p" "$STATE/env"; }
dashboard() { printf 'http://%s' "$(address WEBHOOK_LISTEN)"; }

# is_own_receiver: webhooks go to ours, and not where .env says (docs/webhook.md)
is_own_receiver() { [[ $(address WEBHOOK_URL) == "$(dashboard)/webhook" ]]; }

# whose_dashboard: what its address stands for
whose_dashboard() {
    if is_own_receiver; then
        echo "the receiver's dashboard"
    else
        echo "our own receiver's dashboard, which gets nothing: webhooks go to the URL of .env"
    fi
}

# The probe ------------------------------------------------------------------------------------------------------------

stored_id() { "${STACK[@]}" events "device=$PROBE_DEVICE&limit=20" | grep -qE "[{,]\"id\":$1[,}]"; }

# score_of CONTENT: empty where it has none; words where Redis says no; fails where it does not answer
score_of() { "${STACK[@]}" redis-cli ZSCORE engagement:10min "$1"; }

# has_score CONTENT NUMBER: Redis prints 8.001 as 8.0009999999999994, so they are compared as numbers (words are 0)
has_score() {
    local score
    score=$(score_of "$1") && [[ -n $score ]] && awk -v a="$score" -v b="$2" 'BEGIN { d = a - b; exit !(d > -0.0005 && d < 0.0005) }'
}

has_no_score() {
    local score
    score=$(score_of "$1") && [[ -z $score ]]
}

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

# take_back CONTENT: a delete is processed with the content, so the content goes last.
take_back() {
    "${STACK[@]}" sql -q "DELETE FROM engagement_events WHERE content_id = '$1'"
    if [[ ${2:-} == checked ]]; then within "taken back in Redis" has_no_score "$1"; fi
    "${STACK[@]}" sql -q "DELETE FROM content WHERE id = '$1'"
}

# probe: a row of a content of its own goes through to both sinks, and both are taken back.
probe() {
    local since content id
    since=$(now_ms)
    content=$("${STACK[@]}" sql -qAt "SELECT uuid_generate_v4()")
    # shellcheck disable=SC2064 # what this very probe made, also when interrupted
    trap "take_back $content || true" EXIT
    id=$("${STACK[@]}" sql -qAt "
        WITH made AS (INSERT INTO content (id, slug, title, content_type, length_seconds)
            VALUES ('$content', '$PROBE_DEVICE-$content', 'Quick start', 'podcast', 60) RETURNING id)
        INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device)
        SELECT uuid_generate_v4(), id, 'play', 8000, '$PROBE_DEVICE' FROM made RETURNING id")
    if is_own_receiver; then within "at the receiver" stored_id "$id"; fi
    within "in Redis" has_score "$content" 8
    if is_own_receiver; then
        done_step 'probe row' "$since" "in Redis and at the receiver"
    else
        done_step 'probe row' "$since" "in Redis; its webhook goes to the URL of .env"
    fi
    since=$(now_ms)
    take_back "$content" checked
    trap - EXIT
    done_step 'taken back' "$since" "the leaderboard is as before"
}

# Everything -----------------------------------------------------------------------------------------------------------

# interrupted PID STATUS: what starts in the background does not see the Ctrl-C, and half a start is no state to leave.
interrupted() {
    trap - INT TERM
    say "interrupted; waiting for the services that are starting (Ctrl-C again: they go on unseen) …"
    wait "$1" || true
    say "to go on: ./quick_start.sh · to stop what runs: ./quick_start.sh stop"
    exit "$2"
}

start_all() {
    local began
    began=$(now_ms)
    heading "Deltafan"
    if [[ $WAY == docker ]]; then start_containers; else start_processes; fi
    probe
    what_to_try "$began"
}

start_containers() {
    say "  in containers; as ordinary processes: --native"
    "${STACK[@]}" ports
    "${STACK[@]}" build
    "${STACK[@]}" up
}

start_processes() {
    local services
    [[ $OSTYPE == linux* ]] || die "without containers it runs on Linux alone" "start a Docker engine, then run this again"
    "${STACK[@]}" ports
    "${STACK[@]}" packages "${INSTALL_ARGS[@]}"
    [[ -n ${DELTAFAN_BIN_DIR:-} ]] || need_rust "$YES"
    # In a session of its own, out of the Ctrl-C's way: initdb minds it even in the background.
    setsid "${STACK[@]}" up &
    services=$!
    trap 'interrupted "$services" 130' INT
    trap 'interrupted "$services" 143' TERM
    (build) || {
        wait "$services" || true
        exit 1
    }
    wait "$services" || exit 1
    trap - INT TERM
    "${STACK[@]}" up webhook-sink stream-processor
}

what_to_try() {
    cat >&2 <<END

${UI_BOLD}Deltafan runs.${UI_OFF} $(elapsed "$1"). To try:

  ./quick_start.sh sql "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device) SELECT uuid_generate_v4(), id, 'play', 8000, 'readme-test' FROM content LIMIT 1;"
  ./quick_start.sh redis-cli ZREVRANGE engagement:10min 0 5 WITHSCORES
  $(dashboard)   $(whose_dashboard)
  ./quick_start.sh demo   something to watch there

  ./quick_start.sh status · logs [PART] · stop · clean
END
}

# Something to watch --------------------------------------------------------------------------------------------------

DEMO=(--rate 20 --contents 50 --late-share 0.05 --update-share 0.1 --delete-share 0.02)

runs() { [[ $("${STACK[@]}" status 2>/dev/null | grep -cE '^(webhook-sink|stream-processor) +running ') == 2 ]]; }

# demo [OPTION…]: options of `deltafan generate`; they win over those above
demo() {
    if [[ " $* " == *' --help '* || " $* " == *' -h '* ]]; then usage && return; fi
    runs || start_all
    cat >&2 <<END

  ${UI_BOLD}$(dashboard)/${UI_OFF}   $(whose_dashboard)
  ./deltafan top   the leaderboards, in another terminal

  Events come, change and go as in life, over contents that are made for it. Ctrl-C ends it.

END
    if [[ -n ${DISPLAY:-}${WAYLAND_DISPLAY:-} ]] && command -v xdg-open >/dev/null; then
        xdg-open "$(dashboard)/" >/dev/null 2>&1 &
    fi
    exec "$ROOT/deltafan" generate "${DEMO[@]}" "$@"
}

main() {
    local verb wish='' ports=()
    YES=no
    INSTALL_ARGS=()
    while [[ ${1:-} == -* ]]; do
        case $1 in
        --yes) YES=yes INSTALL_ARGS=(--yes) && shift ;;
        --docker | --native) wish=${1#--} && shift ;;
        --port-offset) ports=(--port-offset "${2:?--port-offset needs a number}") && shift 2 ;;
        -h | --help) usage && return ;;
        *) die "unknown option $1" "./quick_start.sh help" ;;
        esac
    done
    verb=${1:-start}
    [[ $# == 0 ]] || shift
    if [[ $verb == help ]]; then usage && return; fi
    WAY=$(choose_way "$STATE" "$wish" "${verb/#demo/start}")
    if [[ $WAY == docker ]]; then STACK=("$ROOT/stack/docker/stack"); fi
    STACK+=("${ports[@]}")
    case $verb in
    start) start_all ;;
    demo) demo "$@" ;;
    stop) "${STACK[@]}" down ;;
    status) "${STACK[@]}" status ;;
    logs) exec "${STACK[@]}" logs "$@" ;;
    sql) exec "${STACK[@]}" sql "$@" ;;
    redis-cli) exec "${STACK[@]}" redis-cli "$@" ;;
    kafka) exec "${STACK[@]}" kafka "$@" ;;
    clean) "${STACK[@]}" clean "${INSTALL_ARGS[@]}" "$@" ;;
    *) die "unknown verb '$verb'" "./quick_start.sh help" ;;
    esac
}

main "$@"
