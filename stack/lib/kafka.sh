# shellcheck shell=bash
# Kafka: one broker in KRaft mode, and its topics (stack/topics).

KAFKA_HEAP=(-Xms128m -Xmx512m)

# kafka_uuid: 16 random bytes in URL-safe base64, as the broker's own tool makes them (that takes a JVM)
kafka_uuid() {
    local id=-
    while [[ $id == -* ]]; do id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '='); done
    printf '%s' "$id"
}

format_kafka() {
    rm -rf -- "$KAFKA_DATA"
    jvm_tool -Xmx256m kafka.tools.StorageTool format -t "$(kafka_uuid)" -c "$STATE/kafka/server.properties"
    "${TOOL[@]}" >>"$LOGS/kafka.log" 2>&1 9>&- ||
        part_failed kafka "could not format its storage"
}

# fence_killed_broker: makes the controller write down that a broker which was killed leads nothing any more, before it is started
# anew (docs/adr/0110). The controller of a run of its own does it, to which brokers are dead after half a second of silence.
FENCING_SECONDS=20
fence_killed_broker() {
    local log=$STATE/kafka/fencing.log pid deadline=$((EPOCHSECONDS + FENCING_SECONDS))
    render "$ROOT/stack/config/kafka-fencing.properties" HOST KAFKA_CONTROLLER_PORT KAFKA_DATA >"$STATE/kafka/fencing.properties"
    : >"$log" # what the last one said is no answer
    # Bound in time, should this script be killed meanwhile.
    jvm_tool -Xmx256m -Ddeltafan.fencing.log=INFO kafka.Kafka "$STATE/kafka/fencing.properties"
    timeout --kill-after=5 "$FENCING_SECONDS" "${TOOL[@]}" >"$log" 2>&1 9>&- &
    pid=$!
    # One that was killed before it had started leads nothing: then there is nothing to say, and the time runs out.
    until grep -q 'handleBrokerFenced' "$log" || ((EPOCHSECONDS > deadline)) || ! kill -0 "$pid" 2>/dev/null; do
        sleep "$POLL_SECONDS"
    done
    kill "$pid" 2>/dev/null || true
    wait "$pid" || true
}

# Whether it has run before and did not end by itself, which it notes down.
kafka_was_killed() { [[ ! -e $KAFKA_DATA/.kafka_cleanshutdown ]] && compgen -G "$KAFKA_DATA/__transaction_state-*" >/dev/null; }

kafka_start() {
    need_java
    need_jars
    KAFKA_DATA=$STATE/kafka/data
    mkdir -p -- "$STATE/kafka"
    render "$ROOT/stack/config/kafka.properties" HOST KAFKA_LISTENERS KAFKA_ADVERTISED KAFKA_CONTROLLER_PORT KAFKA_DATA >"$STATE/kafka/server.properties"
    [[ -e $KAFKA_DATA/meta.properties ]] || format_kafka
    if kafka_was_killed; then fence_killed_broker; fi
    jvm kafka "${KAFKA_HEAP[@]}" -- kafka.Kafka "$STATE/kafka/server.properties"
    await kafka 120 kafka_started
}

# The port answers before the broker serves; its log says when it does.
kafka_started() { tail -c "+$((LOG_MARK + 1))" -- "$LOGS/kafka.log" | grep -q 'Kafka Server started'; }

# run_kafka_tool TOOL ARGUMENT…: one of Kafka's command-line tools, on our broker unless it is told another
run_kafka_tool() {
    local class broker=(--bootstrap-server "$KAFKA_BROKERS")
    case ${1:-} in
    topics | kafka-topics) class=TopicCommand ;;
    consumer-groups | kafka-consumer-groups) class=consumer.group.ConsumerGroupCommand ;;
    console-consumer | kafka-console-consumer) class=consumer.ConsoleConsumer ;;
    transactions | kafka-transactions) class=TransactionsCommand ;;
    *) die "there is no Kafka tool '${1:-}'" "topics, consumer-groups, console-consumer, transactions; --help after it says how" ;;
    esac
    shift
    if [[ " $* " == *' --bootstrap-server'[\ =]* ]]; then
        broker=()
    elif ! is_alive kafka; then
        die "kafka does not run" "stack/stack up kafka" "another broker: --bootstrap-server HOST:PORT"
    fi
    need_java
    need_jars
    jvm_tool -Xmx256m "org.apache.kafka.tools.$class" "${broker[@]}" "$@"
    exec "${TOOL[@]}"
}

kafka_stop() { stop_process kafka TERM 30; }

make_topics() {
    jvm_tool -Xmx128m deltafan.stack.Topics "$KAFKA_BROKERS" "$ROOT/stack/topics"
    "${TOOL[@]}" >>"$LOGS/topics.log" 2>&1 || {
        tail -n 20 -- "$LOGS/topics.log" >&2
        die "Kafka's topics are not as stack/topics states"
    }
}
