# shellcheck shell=bash
# Our own two programs: the receiver (webhook-sink) and the processor (stream-processor). Cargo builds them;
# DELTAFAN_BIN_DIR names another folder to take them from.

program() {
    local path=${DELTAFAN_BIN_DIR:-$ROOT/target/release}/$1
    [[ -x $path ]] || die "$path is not there" "cargo build --release -p deltafan -p webhook-sink"
    printf '%s' "$path"
}

# settings_mark: what the secrets file says, for `outdated`; what else is in it than secrets are settings of our programs
settings_mark() { grep -E '^[[:space:]]*[A-Z]' "$SECRETS" | sha256sum; }

answers_ok() { curl -fsS -o /dev/null --max-time 5 "$1" 2>/dev/null; }

webhook_sink_start() {
    local binary
    binary=$(program webhook-sink)
    mkdir -p -- "$STATE/webhook-sink"
    load "$SECRETS"
    settings_mark >"$RUN/webhook-sink.settings"
    WEBHOOK_LISTEN=$HOST:$WEBHOOK_PORT WEBHOOK_STORE=$STATE/webhook-sink/events.db WEBHOOK_SECRET=$WEBHOOK_SECRET \
        spawn webhook-sink "$binary" "$@"
    await webhook-sink 30 answers_ok "http://$HOST:$WEBHOOK_PORT/health"
}

webhook_sink_stop() { stop_process webhook-sink TERM 20; }

# stream_processor_start [ARGUMENT…]: arguments go to `deltafan run`
stream_processor_start() {
    local binary line
    binary=$(program deltafan)
    while IFS= read -r line; do export "${line?}"; done < <(print_env)
    load "$SECRETS"
    # The program starts in another folder.
    if [[ -n ${DELTAFAN_CONFIG:-} ]]; then DELTAFAN_CONFIG=$(realpath -m -- "$DELTAFAN_CONFIG"); fi
    settings_mark >"$RUN/stream-processor.settings"
    spawn stream-processor "$binary" run "$@"
    await stream-processor 90 answers_ok "http://$HOST:$ADMIN_PORT/readyz"
}

stream_processor_stop() { stop_process stream-processor TERM 30; }
