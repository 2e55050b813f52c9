# shellcheck shell=bash
# The peers of `bench/run peers`, built on demand: Redpanda Connect (Go) and a program written with Kafka Streams (Maven).
# Nothing else in this project needs them. Each goes into a cache that is named by a hash of its sources, and gets its name
# only when complete.

PEERS=$ROOT/.state/peers
MIN_GO=1.21 # from then on Go fetches the newer one that a go.mod asks for
FETCHED_GO=1.22.12

# need_peers ARGUMENT…: builds what these arguments of `bench/run peers` ask for; sets and exports where it is
need_peers() {
    local needs=${*//=/ }
    BENCH_REDPANDA_CONNECT_CONFIG=$ROOT/bench/peers/redpanda-connect
    export BENCH_REDPANDA_CONNECT_CONFIG
    mkdir -p -- "$PEERS"
    if [[ " $needs " != *" --only "* || $needs == *redpanda-connect* ]]; then
        need_built redpanda-connect
        export BENCH_REDPANDA_CONNECT=$BUILT/connect
    fi
    if [[ " $needs " != *" --only "* || $needs == *kafka-streams* ]]; then
        need_java
        need_built kafka-streams
        export BENCH_KAFKA_STREAMS=$BUILT/libs BENCH_JAVA=$JAVA
    fi
}

# need_built NAME: sets BUILT; builds it where it is missing, once however many ask
need_built() {
    local sources=$ROOT/bench/peers/$1 hash since
    # Configurations are read at run time.
    hash=$(cd "$sources" && find . -type f ! -name '*.yaml' ! -path './target/*' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16)
    BUILT=$PEERS/$1-$hash
    [[ ! -d $BUILT ]] || return 0
    (
        flock 9
        [[ ! -d $BUILT ]] || exit 0
        since=$(now_ms)
        rm -rf -- "$PEERS/$1.building"
        mkdir -- "$PEERS/$1.building"
        "build_${1//-/_}" "$sources" "$PEERS/$1.building"
        rm -rf -- "$PEERS/$1"-*
        mv -- "$PEERS/$1.building" "$BUILT"
        done_step "$1" "$since" "$BUILT"
    ) 9>"$PEERS/lock"
}

# build_redpanda_connect SOURCES INTO
build_redpanda_connect() {
    local log=$PEERS/redpanda-connect.log
    need_go
    say "  building Redpanda Connect (two minutes on an idle machine, once; 1.1 GB of modules) …"
    (cd "$1" && "$GO" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$2/connect" .) </dev/null >"$log" 2>&1 9>&- || {
        tail -n 8 "$log" >&2
        die "Go could not build Redpanda Connect (its whole output: $log)" "is the network there, and the Go module proxy reachable? see go env GOPROXY" \
            "without it: bench/run peers --only deltafan --only kafka-streams …"
    }
}

# build_kafka_streams SOURCES INTO
build_kafka_streams() {
    local log=$PEERS/kafka-streams.log
    command -v mvn >/dev/null || die "Maven is missing" "stack/stack install"
    say "  fetching Kafka Streams and building the program (100 MB, once) …"
    cp -r -- "$1/pom.xml" "$1/src" "$2/"
    JAVA_HOME=$(dirname "$(dirname "$(readlink -f "$JAVA")")") mvn -B -ntp -f "$2/pom.xml" package </dev/null >"$log" 2>&1 9>&- || {
        grep -E '^\[ERROR\]|BUILD FAILURE' "$log" | head -n 8 >&2
        die "Maven could not fetch or build the Kafka Streams program (its whole output: $log)" \
            "is the network there, and Maven Central reachable? Behind a proxy: ~/.m2/settings.xml"
    }
    mv -- "$2/target/libs" "$2/libs"
    rm -rf -- "$2/target" "$2/src" "$2/pom.xml"
}

# find_go MINIMUM: sets GO to the first of the path and the usual places that is new enough
find_go() {
    local candidate
    for candidate in "$(command -v go || true)" /usr/local/go/bin/go "$PEERS"/go/bin/go /usr/lib/go-*/bin/go; do
        if [[ -x $candidate && $(printf '%s\n%s\n' "$1" "$(go_version "$candidate")" | sort -V | head -n 1) == "$1" ]]; then
            GO=$candidate
            return
        fi
    done
    return 1
}

go_version() { GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -nE 's/^go version go([0-9.]+).*/\1/p'; }

# need_go: sets GO. Debian 12's own is too old, but fetches a newer one as a module, verified by Go's checksum database.
need_go() {
    local json folder machine
    ! find_go "$MIN_GO" || return 0
    if ! find_go 1.16; then
        say "Go is missing, and Redpanda Connect is written in it."
        if [[ -t 0 ]]; then ask "Install Debian's golang-go?" || die "nothing was installed" "or install Go yourself: https://go.dev/doc/install"; fi
        as_root_install $'go\tgolang-go\tbuilding Redpanda Connect'
        ! find_go "$MIN_GO" || return 0
        find_go 1.16 || die "there is still no Go after the install" "https://go.dev/doc/install"
    fi
    machine=$("$GO" env GOARCH)
    say "  Go $(go_version "$GO") is too old: fetching $FETCHED_GO (70 MB, once) …"
    json=$(cd / && GOFLAGS=-modcacherw GOPATH=$PEERS/go.path "$GO" mod download -json "golang.org/toolchain@v0.0.1-go$FETCHED_GO.linux-$machine") ||
        die "Go $FETCHED_GO could not be fetched: $(jq -r .Error <<<"$json" 2>/dev/null)" "install Go $MIN_GO or later yourself: https://go.dev/doc/install"
    folder=$(jq -r .Dir <<<"$json")
    # A module's files lose the right to be run.
    chmod +x -- "$folder"/bin/* "$folder"/pkg/tool/*/*
    rm -rf -- "$PEERS/go"
    mv -- "$folder" "$PEERS/go"
    rm -rf -- "$PEERS/go.path"
    GO=$PEERS/go/bin/go
}
