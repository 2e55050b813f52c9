# shellcheck shell=bash
# Kafka Connect with Debezium, and the connector's registration.

CONNECT_HEAP=(-Xms256m -Xmx1g)
CONNECTOR=engagement-events-connector
SLOT=deltafan
CONNECTOR_SECONDS=90 # longer than Connect's worst start after a kill

rest() { curl -fsS --max-time 20 "$@"; }
connect_answers() { rest -o /dev/null "$CONNECT_URL/connectors" 2>/dev/null; }

kafka_connect_start() {
    need_java
    need_jars
    CONNECT_PLUGINS=$JARS/plugins
    mkdir -p -- "$STATE/kafka-connect"
    render "$ROOT/stack/config/connect.properties" HOST CONNECT_ADVERTISED KAFKA_BROKERS CONNECT_PORT CONNECT_PLUGINS >"$STATE/kafka-connect/worker.properties"
    CDC_PASSWORD=$CDC_PASSWORD jvm kafka-connect "${CONNECT_HEAP[@]}" -- \
        org.apache.kafka.connect.cli.ConnectDistributed "$STATE/kafka-connect/worker.properties"
    await kafka-connect 120 connect_answers
}

kafka_connect_stop() { stop_process kafka-connect TERM 20; }

# register_connector: what Connect has becomes what the repository states. Safe to repeat: without drift nothing is sent,
# for even an equal configuration would restart the task.
register_connector() {
    local wanted has drift since
    since=$(now_ms)
    need_logical_wal
    wanted=$(POSTGRES_HOST=$HOST POSTGRES_DB=$DATABASE render "$ROOT/connect/$CONNECTOR.json" POSTGRES_HOST POSTGRES_PORT POSTGRES_DB |
        jq -S --arg name "$CONNECTOR" '. + {name: $name}') || die "connect/$CONNECTOR.json is not JSON"
    has=$(rest "$CONNECT_URL/connectors/$CONNECTOR/config" 2>/dev/null | jq -S .) || has=''
    if [[ -z $has ]]; then
        put_config "$wanted"
        await_connector
        done_step connector "$since" "$CONNECTOR made"
    elif drift=$(jq -rn --argjson has "$has" --argjson wanted "$wanted" \
        '[($has + $wanted | keys[]) | select($has[.] != $wanted[.])] | join(", ")') && [[ -n $drift ]]; then
        put_config "$wanted"
        sleep 2 # Connect answers before it restarts the task: what it says of the task now is about the old one
        await_connector
        done_step connector "$since" "repaired: $drift"
    else
        await_connector
        done_step connector "$since" "$CONNECTOR"
    fi
}

# need_logical_wal: without it Debezium's task runs, streams nothing, and says so in its log alone
need_logical_wal() {
    local level
    level=$(as_owner -d "$DATABASE" -Atqc 'SHOW wal_level' 2>/dev/null) || return 0 # who asks next says why
    [[ $level == logical ]] || die "the wal_level of Postgres is '$level', so Debezium can't read its changes" \
        "ALTER SYSTEM SET wal_level = logical, then restart Postgres"
}

# put_config JSON. A worker that has just joined answers 409 (rebalancing) for a moment.
put_config() {
    local answer deadline=$((EPOCHSECONDS + CONNECTOR_SECONDS))
    while :; do
        answer=$(printf '%s' "$1" | curl -sS --max-time 60 -w '\n%{http_code}' -X PUT -H 'Content-Type: application/json' \
            --data-binary @- "$CONNECT_URL/connectors/$CONNECTOR/config" 2>&1) || true
        case ${answer##*$'\n'} in
        200 | 201) return ;;
        409 | 500 | 503) ;;
        *) die "Connect refuses the connector: $(jq -r '.message // .' <<<"${answer%$'\n'*}" 2>/dev/null | head -n 12 || printf '%s' "$answer")" ;;
        esac
        ((EPOCHSECONDS <= deadline)) || die "Connect did not take the connector within $CONNECTOR_SECONDS s: ${answer%$'\n'*}"
        sleep 0.3
    done
}

# await_connector: connector and task RUNNING, and Debezium streaming from its slot: before that, a row that comes in would
# never be seen. A failed task is restarted once, a paused or stopped connector resumed; Connect does neither by itself.
await_connector() {
    local status state restarted='' deadline=$((EPOCHSECONDS + CONNECTOR_SECONDS))
    while :; do
        status=$(rest "$CONNECT_URL/connectors/$CONNECTOR/status" 2>/dev/null) || status='{}'
        state=$(jq -r '[.connector.state // "UNKNOWN"] + [.tasks[]?.state] | join(" ")' <<<"$status")
        case $state in
        'RUNNING RUNNING') if slot_is_active; then return; fi ;;
        PAUSED* | STOPPED*)
            warn "the connector is ${state%% *}: resuming it"
            rest -X PUT -o /dev/null "$CONNECT_URL/connectors/$CONNECTOR/resume" || true
            sleep 2
            ;;
        *FAILED*)
            if [[ -n $restarted ]]; then
                jq -r '.connector.trace // empty, (.tasks[]?.trace // empty)' <<<"$status" | head -n 6 >&2
                die "the connector's task failed again after a restart" "stack/stack logs kafka-connect"
            fi
            warn "the connector's task has failed: restarting it"
            restarted=yes
            rest -X POST -o /dev/null "$CONNECT_URL/connectors/$CONNECTOR/restart?includeTasks=true&onlyFailed=true" || true
            sleep 2
            ;;
        esac
        is_alive kafka-connect || part_failed kafka-connect "ended"
        ((EPOCHSECONDS <= deadline)) || part_failed kafka-connect "did not bring the connector to RUNNING and streaming within $CONNECTOR_SECONDS s (it is: $state)"
        sleep 0.1
    done
}

# connector_status: what Connect says of the connector and its task, a line each; fails unless both are RUNNING
connector_status() {
    local answer name state why lines=0 failed=0
    answer=$(rest --max-time 5 "$CONNECT_URL/connectors/$CONNECTOR/status" 2>/dev/null) || answer='{}'
    while IFS=$'\t' read -r name state why; do
        printf '%-18s %s%s\n' "$name" "${state,,}" "${why:+: $why}"
        if [[ $state != RUNNING ]]; then failed=1; fi
        lines=$((lines + 1))
    done < <(jq -r '(.connector // {state: "UNKNOWN"} | ["connector", .state, .trace]), (.tasks[]? | ["task \(.id)", .state, .trace])
        | .[2] |= (. // "" | split("\n")[0]) | join("\t")' <<<"$answer")
    ((lines > 1 && failed == 0))
}

slot_is_active() {
    [[ $(as_owner -d "$DATABASE" -Atqc "SELECT active FROM pg_replication_slots WHERE slot_name = '$SLOT'" 2>/dev/null) == t ]]
}
