# shellcheck shell=bash
# Java and the jars of Kafka, Connect and Debezium, built from connect/ into a cache that all stacks of this checkout
# share. A cache is named by a hash of what it was built from, and gets its name only when complete.

MIN_JAVA=17

# java_version JAVA: its major version, from the file beside it where there is one (asking the JVM takes 100 ms)
java_version() {
    local release
    release=$(dirname "$(dirname "$(readlink -f "$1")")")/release
    if [[ -r $release ]]; then
        sed -nE 's/^JAVA_VERSION="([0-9]+).*/\1/p' "$release"
    else
        "$1" -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' | head -n 1
    fi
}

# find_java: sets JAVA to the first of $JAVA_HOME, the path and /usr/lib/jvm that is new enough
find_java() {
    local candidate
    for candidate in "${JAVA_HOME:-/nonexistent}/bin/java" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        if [[ -x $candidate ]] && (($(java_version "$candidate") >= MIN_JAVA)); then
            JAVA=$candidate
            return
        fi
    done
    return 1
}

need_java() { find_java || die "no Java $MIN_JAVA or later" "stack/stack install"; }

jars_folder() {
    local hash
    hash=$(cd "$ROOT/connect" && find pom.xml src -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16)
    printf '%s/%s' "${DELTAFAN_JARS:-$ROOT/.state/jars}" "$hash"
}

# need_jars: sets JARS; builds the cache where it is missing, once however many ask
need_jars() {
    JARS=$(jars_folder)
    [[ ! -d $JARS ]] || return 0
    mkdir -p -- "${JARS%/*}"
    (
        flock 9
        [[ ! -d $JARS ]] || exit 0
        build_jars
    ) 9>"${JARS%/*}/lock"
}

build_jars() {
    local since work
    since=$(now_ms)
    need_java
    command -v mvn >/dev/null || die "Maven is missing" "stack/stack install"
    rm -rf -- "${JARS%/*}"/building.*
    work=$(mktemp -d -- "${JARS%/*}/building.XXXXXX")
    cp -r -- "$ROOT/connect/pom.xml" "$ROOT/connect/src" "$work/"
    say "  fetching Kafka, Connect and Debezium (60 MB, once) …"
    JAVA_HOME=$(dirname "$(dirname "$(readlink -f "$JAVA")")") mvn -B -ntp -f "$work/pom.xml" package </dev/null >"$work/log" 2>&1 9>&- || {
        grep -E '^\[ERROR\]|BUILD FAILURE' "$work/log" | head -n 8 >&2
        die "Maven could not fetch or build the jars (its whole output: $work/log)" \
            "is the network there, and Maven Central reachable? Behind a proxy: ~/.m2/settings.xml"
    }
    mv -- "$work/target" "$JARS"
    rm -rf -- "$work"
    done_step jars "$since" "$JARS"
}
