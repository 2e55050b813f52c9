#!/usr/bin/env bash
# Holds docker-compose.yml and the Dockerfiles against what the native stack states: parts, ports, secrets, names, versions,
# topics. Needs no Docker; that the whole really runs is for stack/docker/test.sh to say, which does.
#
# Afterwards each kind of mistake is made on purpose in a copy, and must be found: else the check would prove nothing.
# Exit status 0 if everything asserted holds.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd)
for library in ui environment process state; do
    # shellcheck source=/dev/null
    . "$ROOT/stack/lib/$library.sh"
done
FILES=(Cargo.toml docker-compose.yml Dockerfile connect/Dockerfile .dockerignore docs/containers.md stack/docker/run stack/topics
    stack/packages connect/pom.xml .env.example webhook-sink/src/config.rs)
mapfile -t -O "${#FILES[@]}" FILES < <(cd "$ROOT" && ls stack/lib/*.sh)

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
use_state "$work/none" 0
declare -A PORT_VARIABLE=([postgres]=POSTGRES_PORT [redis]=REDIS_PORT [kafka]=KAFKA_PORT [kafka-connect]=CONNECT_PORT
    [webhook-sink]=WEBHOOK_PORT [stream-processor]=ADMIN_PORT)

# service FOLDER NAME: its lines in docker-compose.yml
service() {
    awk -v name="$2" '/^[a-z]/ { inside = ($1 == "services:") } inside && /^  [a-z]/ { found = ($1 == name ":") } inside && found' \
        "$1/docker-compose.yml"
}

# expect WHAT: the pattern's lines come in; a line that is not there is a problem
expect() { grep -q "${@:2}" || printf '%s\n' "$1"; }

# The problems of the checkout in FOLDER, a line each; nothing where all is well.
problems_of_services() {
    local part text port variable
    for part in "${PARTS[@]}" setup; do
        text=$(service "$1" "$part")
        expect "$part is not contained" -E '<<: (\*contained|\[\*contained, \*stack-image\])$' <<<"$text"
        [[ $part != setup ]] || continue
        port=$(ports_of "$part") port=${port%% *} variable=${PORT_VARIABLE[$part]}
        expect "$part: another container name" -xF "    container_name: $part" <<<"$text"
        expect "$part: port $port is not published on loopback as \${$variable}" \
            -xF "    ports: [\"127.0.0.1:\${$variable:-$port}:$port\"]" <<<"$text"
        expect "$part has no health check" -E '^    healthcheck:' <<<"$text"
        expect "$part has no bound of memory" -E '^    mem_limit: [0-9]' <<<"$text"
    done
    [[ $(grep -c 'ports:' "$1/docker-compose.yml") == "${#PARTS[@]}" ]] || echo "a service that is no part publishes ports"
    for text in 'read_only: true' 'cap_drop: \[ALL\]' 'no-new-privileges:true'; do
        expect "what is contained lacks $text" "$text" < <(sed -n '/^x-contained/,/^$/p' "$1/docker-compose.yml")
    done
    service "$1" postgres >"$work/postgres"
    expect "another database than $DATABASE" -xF "      POSTGRES_DB: $DATABASE" <"$work/postgres"
    expect "another owner than $DATABASE_OWNER" -xF "      POSTGRES_USER: $DATABASE_OWNER" <"$work/postgres"
}

problems_of_secrets() {
    local key
    while IFS='=' read -r key _; do
        expect "$key does not come from .env, or may be empty" -F "\${$key:?" <"$1/docker-compose.yml"
    done < <(grep -E '^[A-Z_]+=$' "$1/.env.example")
}

# What the native receiver takes from the environment or .env reaches that of the container.
problems_of_settings() {
    local key
    service "$1" webhook-sink >"$work/webhook-sink"
    while read -r key; do
        expect "webhook-sink does not get $key" -E "^      $key:" <"$work/webhook-sink"
    done < <(grep -oE 'env = "[A-Z_]+"' "$1/webhook-sink/src/config.rs" | cut -d'"' -f2)
}

problems_of_versions() {
    local version toolchain image
    toolchain=$(sed -nE 's/^TOOLCHAIN=([0-9.]+).*/\1/p' "$1/stack/lib/rust.sh")
    for image in docker-compose.yml Dockerfile; do
        expect "$image builds with another Rust than $toolchain" -F "rust:$toolchain-" <"$1/$image"
    done
    # Pinned in one place, and built from that.
    while read -r version; do
        ! grep -nF "$version" "$1/docker-compose.yml" "$1/Dockerfile" "$1/connect/Dockerfile" || echo "$version is pinned a second time"
    done < <(sed -nE 's/.*<(kafka|debezium|log4j)\.version>([^<]+)<.*/\2/p' "$1/connect/pom.xml")
    expect "the jars are not built from connect/pom.xml" -E '^COPY connect/pom.xml ' <"$1/connect/Dockerfile"
    expect "another Java than natively" -E "openjdk-17-jre-headless\|" <"$1/stack/packages"
    expect "another Java than natively" -F openjdk-17-jre-headless <"$1/connect/Dockerfile"
    while read -r image; do
        expect "docs/containers.md does not name $image" -F "\`$image\`" <"$1/docs/containers.md"
    done < <(sed -nE 's/.*\$\{[A-Z]+_IMAGE:-([^}]+)\}.*/\1/p' "$1/docker-compose.yml" | sort -u)
    while read -r image; do
        expect "docker-compose.yml knows no $image" -F ":-$image}" <"$1/docker-compose.yml"
    done < <(sed -nE 's/^ARG [A-Z]+_IMAGE=(.+)/\1/p' "$1/Dockerfile" "$1/connect/Dockerfile")
}

# Cargo builds nothing where a member's manifest is missing.
problems_of_members() {
    local member
    while read -r member; do
        expect "the build does not see $member" -xE "!$member(/Cargo.toml)?" <"$1/.dockerignore"
        expect "the build lacks $member" -E "^COPY ($member|$member/Cargo.toml) " <"$1/Dockerfile"
    done < <(sed -nE 's/^members = \[(.*)\]/\1/p' "$1/Cargo.toml" | tr -d '",' | tr ' ' '\n')
}

problems_of_topics() {
    local topic file
    expect "the image lacks stack/" -xF 'COPY stack stack' <"$1/connect/Dockerfile"
    for file in stack/topics stack/config stack/lib init.sql connect/pom.xml connect/engagement-events-connector.json; do
        expect "the build does not see $file" -xF "!$file" <"$1/.dockerignore"
    done
    while read -r topic _; do
        ! grep -nwF -- "$topic" "$1/docker-compose.yml" "$1/connect/Dockerfile" || echo "$topic is stated a second time"
    done < <(grep -oE '^[a-z_][A-Za-z0-9_.-]+' "$1/stack/topics" | grep -vx content) # a word like any other
}

# What runs in a container reads the libraries of what it calls.
problems_of_libraries() {
    local library libraries name files=("$1/stack/docker/run")
    libraries=$(sed -n 's/^for library in \(.*\); do$/\1/p' "$1/stack/docker/run")
    for library in $libraries; do files+=("$1/stack/lib/$library.sh"); done
    for library in "$1"/stack/lib/*.sh; do
        name=${library##*/}
        [[ " $libraries " != *" ${name%.sh} "* ]] || continue
        while read -r name; do
            ! sed 's/#.*//' "${files[@]}" | grep -qE "(^|[^[:alnum:]_-])$name([^[:alnum:]_-]|\$)" ||
                echo "stack/docker/run does not read ${library##*/}, and calls its $name"
        done < <(sed -nE 's/^([a-z_]+)\(\).*/\1/p' "$library")
    done
}

problems() {
    problems_of_services "$1"
    problems_of_secrets "$1"
    problems_of_settings "$1"
    problems_of_versions "$1"
    problems_of_members "$1"
    problems_of_topics "$1"
    problems_of_libraries "$1"
}

# finds MISTAKE FILE SED WHAT: with this edit of a copy a problem that says WHAT is found
finds() {
    local mistake=$1 file=$2 edit=$3 what=$4 found
    rm -rf -- "$work/copy"
    mkdir -p "$work/copy"
    (cd "$ROOT" && cp --parents -- "${FILES[@]}" "$work/copy")
    sed -i -E "$edit" "$work/copy/$file"
    if cmp -s "$ROOT/$file" "$work/copy/$file"; then
        echo "FAIL: the mistake could not be made: $mistake"
        exit 1
    fi
    found=$(problems "$work/copy")
    if [[ $found != *"$what"* ]]; then
        echo "FAIL: not found: $mistake; found instead: ${found:-nothing}"
        exit 1
    fi
    passed=$((passed + 1))
    echo "ok: finds $mistake"
}

passed=0
found=$(problems "$ROOT")
if [[ -n $found ]]; then
    printf 'FAIL: the containers are not what the native stack is:\n%s\n' "$found"
    exit 1
fi
passed=$((passed + 1))
echo "ok: compose file, Dockerfiles and documentation agree with the native stack"

finds "a port open to the network" docker-compose.yml 's/"127\.0\.0\.1:(\$\{REDIS_PORT)/"\1/' 'redis: port 6379'
finds "another port" docker-compose.yml 's/:-8083\}:8083/:-8084}:8083/' 'kafka-connect: port 8083'
finds "one more open port" docker-compose.yml 's/^    command: \[setup\]/&\n    ports: ["1:1"]/' 'publishes ports'
finds "a renamed container" docker-compose.yml 's/container_name: kafka$/container_name: broker/' 'kafka: another container name'
finds "a service with all rights" docker-compose.yml '/^  redis:/,/image/ s/<<: \*contained/restart: always/' 'redis is not contained'
finds "a file system that can be written" docker-compose.yml 's/read_only: true/read_only: false/' 'lacks read_only'
finds "a service without a health check" docker-compose.yml '/^  webhook-sink:/,/^  stream/ s/    healthcheck:/    unchecked:/' 'webhook-sink has no health check'
# shellcheck disable=SC2016 # no expansion is meant
finds "a secret that may be empty" docker-compose.yml 's/\$\{CDC_PASSWORD:\?[^}]*\}/${CDC_PASSWORD}/' 'CDC_PASSWORD does not come from .env'
finds "a setting that does not reach its program" docker-compose.yml 's/^      WEBHOOK_KEEP_IDS:$//' 'webhook-sink does not get WEBHOOK_KEEP_IDS'
finds "another database" docker-compose.yml 's/POSTGRES_DB: .*/POSTGRES_DB: other/' 'another database'
finds "another Rust" stack/lib/rust.sh 's/^TOOLCHAIN=[0-9.]+/TOOLCHAIN=1.0.0/' 'another Rust than 1.0.0'
finds "another base image in a Dockerfile" connect/Dockerfile 's/^ARG DEBIAN_IMAGE=.*/ARG DEBIAN_IMAGE=debian:other/' 'knows no debian:other'
finds "an image that the documentation does not name" docker-compose.yml 's/postgres:15-bookworm/postgres:16-bookworm/' 'does not name postgres:16'
finds "a member of the workspace that the image lacks" Dockerfile '/^COPY bench\/Cargo.toml/d' 'the build lacks bench'
finds "a member of the workspace that is ignored" Cargo.toml 's/^(members = .*)\]/\1, "tools"]/' 'the build does not see tools'
finds "a second pin of Kafka" connect/Dockerfile "s/^WORKDIR \\/connect/ENV KAFKA=$(sed -nE 's/.*<kafka.version>(.*)<.*/\1/p' "$ROOT/connect/pom.xml")\n&/" 'pinned a second time'
finds "a topic that is stated twice" docker-compose.yml 's/^    command: \[kafka\]/&\n    labels: {topics: deltafan.control}/' 'deltafan.control is stated a second time'
finds "a library that a container does not read" stack/docker/run 's/ jars jvm / jars /' 'does not read jvm.sh, and calls its jvm'
finds "topics that the image lacks" .dockerignore 's/^!stack\/topics//' 'does not see stack/topics'

# What a build sees is a workspace to Cargo: no member, and no target that a manifest names, is missing.
context=$work/context
mkdir -p "$context"
(cd "$ROOT" && sed -n 's/^!//p' .dockerignore | xargs cp -r --parents -t "$context")
(cd "$context" && grep -vE '^[#!*]|\*' "$ROOT/.dockerignore" | xargs rm -r --)
for member in e2e bench fuzz; do mkdir "$context/$member/src" && touch "$context/$member/src/main.rs"; done
targets() { awk '/^\[/ { inside = /^\[\[/ } inside && $1 == "name" { gsub(/"/, ""); print $3 }' "$context"/*/Cargo.toml | sort -u; }
seen() { cargo metadata --offline --locked --no-deps --format-version 1 --manifest-path "$context/Cargo.toml" | jq -r '.packages[].targets[].name' | sort -u; }
# Of a target that is missing `cargo metadata` says nothing, and `cargo build` would build everything.
if ! missing=$(comm -23 <(targets) <(seen)) || [[ -n $missing || -z $(targets) ]]; then
    echo "FAIL: of what the manifests name a build does not see: ${missing:-anything}"
    exit 1
fi
passed=$((passed + 1))
echo "ok: what a build sees is a workspace to Cargo"

# What the containers' accounts can't read is told before minutes go into images. A stand-in answers for Docker.
mkdir -p "$work/bin" "$work/private"
# shellcheck disable=SC2016 # no expansion is meant
printf '#!/bin/sh\n[ "$1" != container ]\n' >"$work/bin/docker"
chmod +x "$work/bin/docker"
(umask 077 && cp -r -- "$ROOT/stack" "$work/private/")
if said=$(PATH=$work/bin:$PATH "$work/private/stack/docker/stack" ports 2>&1) || [[ $said != *"can't read $work/private/stack"*chmod* ]]; then
    echo "FAIL: a checkout that only its owner can read is not refused: ${said:-nothing is said}"
    exit 1
fi
passed=$((passed + 1))
echo "ok: a checkout that only its owner can read is refused at once"
echo "$passed passed, 0 failed"
