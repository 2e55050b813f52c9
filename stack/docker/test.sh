#!/usr/bin/env bash
# Tries the containers for real: builds every image, brings docker-compose.yml up with quick_start.sh, pastes what the
# documentation says can be pasted, runs the end-to-end scenarios against it, and removes it again. For a checkout that
# runs nothing; needs a Docker engine.
#
# usage: stack/docker/test.sh [--stand-ins] [--port-offset N]
#   --stand-ins       where no registry answers: base images made of Debian packages (stand-ins/make.sh)
#   --port-offset N   default 12000
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd)
cd "$ROOT"
for library in ui state way; do
    # shellcheck source=/dev/null
    . "stack/lib/$library.sh"
done
STATE=$ROOT/.state/default
SETTLE_SECONDS=30 # Kafka Connect's restart of a task
offset=12000 passed=0
while (($#)); do
    case $1 in
    --stand-ins) stack/docker/stand-ins/make.sh && shift ;;
    --port-offset) offset=${2:?--port-offset needs a number} && shift 2 ;;
    *) die "unknown option $1" "stack/docker/test.sh [--stand-ins] [--port-offset N]" ;;
    esac
done
[[ -z $(remembered_way "$STATE") ]] || die "something was started here: $STATE" "./quick_start.sh clean"

fail() { printf 'FAIL: %s\n' "$*" && exit 1; }
# assert WHAT COMMAND…
assert() {
    local what=$1
    shift
    "$@" || fail "$what: $*"
    passed=$((passed + 1))
    echo "ok: $what"
}
# says PATTERN COMMAND…: its output, errors too, holds that
says() {
    local pattern=$1 said
    shift
    said=$("$@" 2>&1) || { printf '%s\n' "$said" && return 1; }
    [[ $said =~ $pattern ]] || { printf '%s\n' "$said" && return 1; }
}
start() { ./quick_start.sh --port-offset "$offset"; }
made() { docker container inspect -f '{{.Id}} {{.State.StartedAt}}' "${PARTS[@]}"; }
inside() { docker exec "$@"; }
rows() { ./quick_start.sh sql -At "SELECT count(*) FROM engagement_events WHERE device = 'containers-test'"; }
is_confined() {
    local of
    of=$(docker container inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.State.Health.Status}}' "$1")
    [[ $of == 'true [ALL] [no-new-privileges:true] healthy' && $(inside "$1" id -u) != 0 ]] && ! inside "$1" touch /tried 2>/dev/null
}
# generated COUNT: waits until there are more rows than that, and prints how many there are
generated() {
    local count deadline=$((EPOCHSECONDS + SETTLE_SECONDS))
    until count=$(./quick_start.sh sql -At "SELECT count(*) FROM engagement_events") && ((count > $1)); do
        ((EPOCHSECONDS <= deadline)) || return 1
    done
    echo "$count"
}
# outlives_processor: rows come before the processor's kill and after it
outlives_processor() {
    local log=.state/default/logs/generator.log pid count
    stack/docker/stack deltafan generate --rate 20 >"$log" 2>&1 &
    pid=$!
    generated 0 >/dev/null && docker kill stream-processor >/dev/null &&
        count=$(generated 0) && generated "$count" >/dev/null && kill "$pid" && wait "$pid" &&
        grep -q 'rows inserted' "$log" && start 2>/dev/null
}
connector_url() { printf 'http://127.0.0.1:%s/connectors/engagement-events-connector/config' $((8083 + offset)); }
setting() { curl -fsS "$(connector_url)" | jq -r '."poll.interval.ms"'; }
repairs_drift() {
    local wanted deadline
    wanted=$(setting)
    curl -fsS "$(connector_url)" | jq '."poll.interval.ms" = "77"' | curl -fsS -o /dev/null -X PUT -H 'Content-Type: application/json' --data-binary @- "$(connector_url)"
    deadline=$((EPOCHSECONDS + SETTLE_SECONDS))
    until [[ $(setting) == 77 ]]; do ((EPOCHSECONDS <= deadline)) || return 1; done
    docker start -a deltafan-setup >/dev/null 2>&1
    [[ $(setting) == "$wanted" ]]
}
answers_no_longer() { ! docker container inspect "${PARTS[@]}" >/dev/null 2>&1; }

trap 'trap - EXIT; ./quick_start.sh clean --yes' EXIT
assert "it starts from nothing, and a row goes through" ./quick_start.sh --docker --port-offset "$offset"
for part in "${PARTS[@]}"; do assert "$part is healthy, without rights, and can't write" is_confined "$part"; done
before=$(made)
assert "it is started again" start
assert "nothing was made again or restarted" test "$before" == "$(made)"
assert "kafka-topics, as it is pasted" says engagement_events.dlq inside kafka kafka-topics --bootstrap-server localhost:29092 --list
assert "… with .sh" says engagement_events.dlq inside kafka kafka-topics.sh --bootstrap-server localhost:29092 --list
assert "kafka-console-consumer" says deep-sea-cables inside kafka kafka-console-consumer --bootstrap-server localhost:29092 \
    --topic content --from-beginning --max-messages 1 --timeout-ms 20000
assert "consumer groups by the verb" says deltafan.engagement.redis ./quick_start.sh kafka consumer-groups --list
assert "psql" says streaming_db inside postgres psql -U user -d streaming_db -Atc 'SELECT current_database()'
assert "redis-cli" says PONG ./quick_start.sh redis-cli ping
assert "status" says 'connector +running' ./quick_start.sh status
assert "logs" says 'connector' ./quick_start.sh logs setup
assert "… into a pipe" says 'partitions assigned' bash -c './quick_start.sh logs stream-processor 2>/dev/null'
assert "… of no part" says 'there is no part' bash -c '! ./quick_start.sh logs kafak'
assert "the program in its container" says '^deltafan [0-9]' stack/docker/stack deltafan version
assert "the generator outlives the processor, and says at its end what it did" outlives_processor
assert "a drifted connector is repaired" repairs_drift
assert "the other way is refused" says 'started with --docker' bash -c '! ./quick_start.sh --native'
assert "the end-to-end scenarios pass" ./test_pipeline.sh --attach
./quick_start.sh sql -q "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device)
    SELECT uuid_generate_v4(), id, 'play', 8000, 'containers-test' FROM content"
before=$(rows)
stack/docker/stack deltafan generate --rate 20 >/dev/null 2>&1 &
generated "$(./quick_start.sh sql -At 'SELECT count(*) FROM engagement_events')" >/dev/null
kill -KILL $!
assert "it stops" ./quick_start.sh stop
assert "also a generator that nobody holds any more" test -z "$(docker container ls -q --filter name=deltafan-generator)"
assert "status says so" says 'stream-processor +stopped' ./quick_start.sh status
assert "it starts again" start
assert "the rows are still there" test "$(rows)" == "$before"
trap - EXIT
assert "clean" ./quick_start.sh clean --yes
assert "no container is left" answers_no_longer
assert "nor the network" test -z "$(docker network ls -q --filter name=deltafan_default)"
assert "no volume is left" test -z "$(docker volume ls -q --filter label=com.docker.compose.project=deltafan)"
assert "nor the state" test ! -e "$STATE"
echo "$passed passed, 0 failed"
