#!/usr/bin/env bash
# Runs every test: formatting, lints, unit tests, the stack's own tests, and the end-to-end scenarios (e2e/) on stacks of
# their own, which are gone afterwards, also after Ctrl-C. One line per check; the last line is "N passed, N failed".
#
# Scenarios wait for most of their time: for a session to time out, a broker to come back, a window to end. So there are
# three stacks, where the memory is enough, and each takes the next scenario that nobody has begun.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
cd "$ROOT"
# shellcheck source=/dev/null
. stack/lib/ui.sh
# shellcheck source=/dev/null
. stack/lib/environment.sh
# shellcheck source=/dev/null
. stack/lib/process.sh
# shellcheck source=/dev/null
. stack/lib/rust.sh

LOG_LINES=40    # shown of the log of a check that failed
FIRST_OFFSET=5000 LAST_OFFSET=22000 # ports of test stacks: above all of a default stack, below those of outgoing connections
PORTS=(5001 5432 6379 8083 9092 9093)
ADMIN_PORTS=(9464 9864) # the processor's, and those behind it that scenarios use
PORTS_SPAN=5000 # between the offsets of two stacks: no port of one is one of the other
MOST_STACKS=3
export DELTAFAN_SHORT_LIVED=yes # the JVMs of a test stack: killed and emptied as they are, none grows old
STACK_KB=$((3 * 1024 * 1024)) # memory that a stack and what scenarios start beside it take, with room to spare

usage() {
    cat <<'END'
usage: ./test_pipeline.sh [--attach] [--only NAME]… [--keep] [--stacks N] [--port-offset N]
       ./test_pipeline.sh --seeds A..B [--keep] [--stacks N] [--port-offset N]
       ./test_pipeline.sh --merge FILE…

  --attach          only the end-to-end scenarios on what ./quick_start.sh has started
  --only NAME       only this check (fmt, clippy, shellcheck, unit-tests, stack-tests) or scenario; can be repeated
  --seeds A..B      instead of all that, the seeded runs with faults of these seeds, both included (or of one, as 17); what
                    came of each goes to .state/seeds/A..B.jsonl
  --merge FILE…     one table of such files
  --keep            leaves the test stacks and all logs for a look
  --stacks N        1 to 3 test stacks (default: as many as memory allows, or 1 for a single scenario)
  --port-offset N   ports of the first test stack (default: free ones)
END
}

attach='' keep='' offset='' stacks='' only=() seeds='' merge=()
while (($#)); do
    case $1 in
    --attach) attach=yes && shift ;;
    --seeds) seeds=${2:?--seeds needs a range, as 1..200} && shift 2 ;;
    --merge)
        shift
        merge=("$@") && set --
        ((${#merge[@]} > 0)) || die "--merge needs files" "./test_pipeline.sh --help"
        ;;
    --keep) keep=yes && shift ;;
    --only) only+=("${2:?--only needs a name}") && shift 2 ;;
    --stacks)
        stacks=${2:?--stacks needs a number} && shift 2
        [[ $stacks == [1-$MOST_STACKS] ]] || die "--stacks $stacks is none of 1 to $MOST_STACKS" "./test_pipeline.sh --help"
        ;;
    --port-offset) offset=${2:?--port-offset needs a number} && shift 2 ;;
    --help) usage && exit ;;
    *) die "unknown option $1" "./test_pipeline.sh --help" ;;
    esac
done

passed=0 failed=0 began=$(now_ms)
declare -A beside=()
child='' states=() logs=''

# left_behind STATE: the processes that name this state folder on their command line or in their environment, or are in it:
# nothing else on the machine does.
left_behind() {
    local pid moved
    moved=/var/lib/deltafan/$(printf '%s' "$1" | sha256sum | cut -c1-12)
    {
        grep -lsF -e "$1" -e "$moved" /proc/[0-9]*/cmdline /proc/[0-9]*/environ || true
        find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "$1*" -o -lname "$moved*" \) 2>/dev/null || true
    } | cut -d/ -f3 | sort -un | while read -r pid; do
        if stat_of "$pid" && [[ $STAT_STATE != [ZX] ]]; then
            printf '%s %s\n' "$pid" "$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | cut -c1-100)"
        fi
    done
}

# kill_all: the processes that left_behind names
kill_all() {
    local pid
    while read -r pid _; do kill -KILL "$pid" 2>/dev/null || true; done
}

# remove_abandoned: the test stacks whose test_pipeline.sh was killed. What it ran may go on, and comes first: it would start
# again what is stopped. One that was kept (--keep) has no owner.
remove_abandoned() {
    local folder
    for folder in "$ROOT"/.state/test.*; do
        if [[ ! -O $folder || ! -e $folder/owner ]] || RUN=$folder is_alive owner; then continue; fi
        say "removing the test stack $folder, whose test was killed"
        left_behind "$folder" | kill_all
        stack/stack --state "$folder" clean --yes >/dev/null 2>&1 || warn "$folder could not be removed"
    done
}

end_group() {
    [[ -n $1 ]] || return 0
    kill -TERM -- "-$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || true
}

# end_stack STATE: leaves nothing of it, and what was left behind is a failure.
end_stack() {
    local left
    if [[ -n $keep ]]; then
        rm -f -- "$1/owner"
        say "a test stack is left running: stack/stack --state $1 status; its end: stack/stack --state $1 clean"
        return
    fi
    # What its servers said, for whoever looks at a failure.
    ((failed == 0)) || cp -r -- "$1/logs" "$logs/${1##*/}" 2>/dev/null || true
    stack/stack --state "$1" clean --yes >>"$logs/stack.log" 2>&1 || true
    left=$(left_behind "$1")
    if [[ -n $left ]]; then
        failed=$((failed + 1))
        printf '✗ processes were left behind:\n%s\n' "$left"
        kill_all <<<"$left"
    fi
    rm -rf -- "$1"
}

finish() {
    local status=$? group state
    trap '' INT TERM HUP
    trap - EXIT
    end_group "$child"
    for group in "${!beside[@]}"; do end_group "$group"; done
    for state in "${states[@]}"; do end_stack "$state"; done
    if [[ -n $logs ]]; then
        if ((failed == 0 && status == 0)) && [[ -z $keep ]]; then rm -rf -- "$logs"; else say "logs: $logs"; fi
    fi
    # Nothing that ran is no success.
    if ((status != 0 && failed == 0)) || ((passed + failed == 0)); then failed=$((failed + 1)); fi
    printf '%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0))
    exit
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A process group of its own, waited for in the background, so that a signal ends it and us at once. With FOREGROUND=yes what
# may ask for a password: it needs the terminal.
run_child() {
    local status=0
    if [[ -n ${FOREGROUND:-} ]]; then
        "$@"
        return
    fi
    setsid "$@" &
    child=$!
    wait "$child" || status=$?
    child=''
    return "$status"
}

wants() {
    local name
    [[ -z $seeds ]] || return 1
    ((${#only[@]} > 0)) || return 0
    for name in "${only[@]}"; do [[ $name != "$1" ]] || return 0; done
    return 1
}

# line MARK NAME SINCE_MS DETAIL: like those of the scenarios
line() { printf '%s %-18s %8s  %s\n' "$1" "$2" "$(elapsed "$3")" "$4"; }

# step NAME COMMAND…: what must work before anything else can; ends the run where it fails.
step() {
    local name=$1 since log=$logs/$1.log
    since=$(now_ms)
    shift
    if run_child "$@" >>"$log" 2>&1; then
        line · "$name" "$since" "done"
    else
        failed=$((failed + 1))
        line ✗ "$name" "$since" "$*"
        tail -n "$LOG_LINES" -- "$log"
        exit 1
    fi
}

# check NAME LOG FIGURE COMMAND…: one check. Its details go to the log, the end of which is shown where it fails; a FIGURE
# of - is the log's last line.
check() {
    local name=$1 since log=$logs/$2.log figure=$3
    since=$(now_ms)
    shift 3
    if run_child "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        [[ $figure != - ]] || figure=$(tail -n 1 -- "$log")
        line ✓ "$name" "$since" "$figure"
    else
        failed=$((failed + 1))
        line ✗ "$name" "$since" "$*"
        tail -n "$LOG_LINES" -- "$log"
    fi
}

# begin LOG COMMAND…: beside what follows, in a process group of its own; BEGUN is its number.
begin() {
    local log=$logs/$1.log
    shift
    setsid "$@" >"$log" 2>&1 &
    BEGUN=$!
    beside[$BEGUN]=1
}

# ended GROUP: waits for what `begin` began; its status.
ended() {
    local status=0
    wait "$1" || status=$?
    unset "beside[$1]"
    return "$status"
}

# unit_tests GROUP SINCE_MS: waits for those that were begun; each Rust test counts.
unit_tests() {
    local log=$logs/unit-tests.log status=0 ok bad
    ended "$1" || status=$?
    ok=$(awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$log")
    bad=$(awk '/^test result:/ { sum += $6 } END { print sum + 0 }' "$log")
    if ((status != 0 && bad == 0)) || ((ok + bad == 0)); then bad=$((bad + 1)); fi
    passed=$((passed + ok)) failed=$((failed + bad))
    if ((bad == 0)); then
        line ✓ unit-tests "$2" "$ok Rust tests"
    else
        line ✗ unit-tests "$2" "$bad of $((ok + bad)) Rust tests failed"
        grep -E '^(error|test .* FAILED)' "$log" | head -n "$LOG_LINES" || true
        # What each that failed said, without the trace of calls; where none could say anything, the end.
        awk '/^---- / { left = 12 } /^stack backtrace:/ { left = 0 } left-- > 0 { print; said = 1 } END { exit !said }' "$log" ||
            tail -n "$LOG_LINES" -- "$log"
    fi
}

shell_scripts() {
    find . \( -name target -o -name .git -o -name .state \) -prune -o -type f -print0 |
        xargs -0 awk 'FNR == 1 { if (/^#!.*[ \/](ba)?sh$/ || FILENAME ~ /\.sh$/) print FILENAME; nextfile }' | sort
}

# free_offset N: the first of N offsets, PORTS_SPAN apart, whose ports are free
free_offset() {
    local candidate port stack
    while read -r candidate; do
        for ((stack = 0; stack < $1; stack++)); do
            for port in "${PORTS[@]}" $(seq "${ADMIN_PORTS[@]}"); do
                if listener_of $((port + candidate + PORTS_SPAN * stack)) >/dev/null; then continue 3; fi
            done
        done
        printf '%s' "$candidate"
        return
    done < <(seq "$FIRST_OFFSET" 500 $((LAST_OFFSET - PORTS_SPAN * ($1 - 1))) | shuf)
    die "no free ports for a test stack" "name some: --port-offset N"
}

# stack_test SCRIPT: all of them need root
stack_test() {
    local name=${1##*/}
    name=${name%.sh}
    if [[ $EUID == 0 ]]; then
        check "stack: $name" "stack-$name" - "$1"
    elif command -v sudo >/dev/null; then
        FOREGROUND=yes check "stack: $name" "stack-$name" - sudo -- "$1"
    else
        line · "stack: $name" "$(now_ms)" "skipped: it takes root, and there is no sudo"
    fi
}

# begin_stacks: as many as are wanted or fit, in the background.
begin_stacks() {
    local available state log
    if [[ -z $stacks ]]; then
        available=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
        stacks=$((available / STACK_KB))
        ((stacks <= MOST_STACKS)) || stacks=$MOST_STACKS
        if ((stacks < 1 || ${#only[@]} == 1)); then stacks=1; fi
    fi
    offset=${offset:-$(free_offset "$stacks")}
    while ((${#states[@]} < stacks)); do
        state=$(mktemp -d .state/test.XXXXXX)
        state=$ROOT/$state
        stat_of "$$" && printf '%s %s %s %s\n' "$$" "$STAT_START" "$BOOT_ID" "$EPOCHSECONDS" >"$state/owner"
        log=stack-${#states[@]}
        begin "$log" stack/stack --state "$state" --port-offset $((offset + PORTS_SPAN * ${#states[@]})) up
        states+=("$state") starting+=("$BEGUN $log")
    done
}

# wait_for_stacks SINCE_MS: ends the run where one does not start.
wait_for_stacks() {
    local group log
    for group in "${starting[@]}"; do
        read -r group log <<<"$group"
        ended "$group" && continue
        failed=$((failed + 1))
        line ✗ stack "$1" "a test stack did not start"
        tail -n "$LOG_LINES" -- "$logs/$log.log"
        exit 1
    done
}

# scenarios OPTION…: each counts.
scenarios() {
    local results=$logs/results name options=()
    while read -r name; do options+=(--only "$name"); done < <(wanted_scenarios)
    for name in "${states[@]}"; do options+=(--state "$name"); done
    if [[ -n $seeds ]]; then
        mkdir -p .state/seeds
        rm -f -- ".state/seeds/$seeds.jsonl"
        options+=(--seeds "$seeds" --seed-results "$ROOT/.state/seeds/$seeds.jsonl")
    fi
    rm -f -- "$results"
    run_child target/release/e2e --root "$ROOT" --binaries "$ROOT/target/release" --folder "$logs/e2e" \
        --results "$results" "$@" "${options[@]}" || true
    if [[ -s $results ]]; then
        local ok bad
        read -r ok bad <"$results"
        passed=$((passed + ok)) failed=$((failed + bad))
    else
        failed=$((failed + 1))
        echo "✗ the scenarios did not come to their end"
    fi
}

# wanted_scenarios: the names that --only gives and that are none of our own checks
wanted_scenarios() {
    local name
    for name in "${only[@]}"; do
        case $name in fmt | clippy | shellcheck | unit-tests | stack-tests) ;; *) echo "$name" ;; esac
    done
}

wants_scenarios() { [[ -n $seeds ]] || ((${#only[@]} == 0)) || [[ -n $(wanted_scenarios) ]]; }

mkdir -p .state
logs=$(mktemp -d .state/test-logs.XXXXXX)
logs=$ROOT/$logs

if [[ -n $attach ]]; then
    wants_scenarios || die "--attach runs scenarios alone: ${only[*]} is none" "leave --attach or --only out"
    [[ -r .state/default/env ]] || die "there is nothing to attach to" "start it: ./quick_start.sh"
    # Where containers run it, nothing that builds had to be here.
    for tool in gcc g++ make; do
        command -v "$tool" >/dev/null || die "the tests are built here, and there is no $tool" "apt-get install gcc g++ make"
    done
    need_rust yes
    step build cargo build --release --workspace --bins # the same artefacts as those of quick_start.sh
    scenarios --state "$ROOT/.state/default" --attach
    exit
fi

if ((${#merge[@]} > 0)); then
    need_rust yes
    step build cargo build --release --workspace --bins
    check merge merge "all of them well" target/release/e2e --root "$ROOT" --binaries target/release --folder "$logs" \
        --merge "${merge[@]}"
    cat "$logs/merge.log"
    exit
fi

remove_abandoned
FOREGROUND=yes step packages stack/stack install --for-tests --yes
need_rust yes clippy rustfmt

step build cargo build --release --workspace --bins

if wants fmt; then check fmt fmt "all crates" cargo fmt --all --check; fi
if wants shellcheck; then
    mapfile -t scripts < <(shell_scripts)
    check shellcheck shellcheck "${#scripts[@]} scripts" shellcheck --external-sources "${scripts[@]}"
fi
if wants clippy; then check clippy clippy "no warnings" cargo clippy --workspace --all-targets -- -D warnings; fi
if wants unit-tests; then step test-build cargo test --workspace --no-run; fi

# From here on little is computed and much is waited for: side by side. Nothing of it earlier, for even idle services take from
# the compiler.
since=$(now_ms) starting=()
if wants unit-tests; then
    begin unit-tests cargo test --workspace --no-fail-fast
    units=$BEGUN
fi
if wants_scenarios; then begin_stacks; fi
if wants stack-tests; then
    for script in stack/tests/*.sh; do
        [[ -x $script ]] || continue
        stack_test "$ROOT/$script"
    done
fi
if wants unit-tests; then unit_tests "$units" "$since"; fi
if wants_scenarios; then
    wait_for_stacks "$since"
    scenarios
fi
say "took $(elapsed "$began")"
