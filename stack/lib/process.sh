# shellcheck shell=bash
# Starting, stopping, killing and freezing the processes of a part.
#
# run/PART holds "PID START_TIME BOOT_ID STARTED_AT". A pid alone may belong to somebody else by now; pid, start time and
# boot together name one process for ever. Nothing is ever signalled by name.

POLL_SECONDS=0.03

# Elsewhere than on Linux only containers run, which are none of these processes.
BOOT_ID=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) || BOOT_ID=none

# stat_of PID: sets STAT_STATE and STAT_START (clock ticks since boot); fails where there is no such process.
stat_of() {
    local line fields
    { IFS= read -r -d '' line <"/proc/$1/stat" || [[ -n ${line:-} ]]; } 2>/dev/null || return 1
    read -r -a fields <<<"${line##*) }"
    STAT_STATE=${fields[0]} STAT_PGRP=${fields[2]} STAT_START=${fields[19]}
}

# read_record PART: sets PID, START, BOOT, SINCE of the last start; fails where the part was never started, or was stopped.
read_record() {
    PID='' START='' BOOT='' SINCE=''
    [[ -r $RUN/$1 ]] && read -r PID START BOOT SINCE <"$RUN/$1" && [[ -n $SINCE ]]
}

# is_alive PART: its main process runs (or is frozen). Sets PID.
is_alive() {
    read_record "$1" && [[ $BOOT == "$BOOT_ID" ]] && stat_of "$PID" && [[ $STAT_START == "$START" && $STAT_STATE != [ZX] ]]
}

# state_of PART: running, frozen, dead (started, but gone) or stopped
state_of() {
    if is_alive "$1"; then
        if [[ $STAT_STATE == T ]]; then echo frozen; else echo running; fi
    elif [[ -e $RUN/$1 ]]; then
        echo dead
    else
        echo stopped
    fi
}

# tree_of PID: "PID START_TIME" of the process, of its group and session and of all their descendants. Postgres' backends
# are group leaders of their own, so the group alone would miss them.
tree_of() {
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v root="$1" '
        {
            pid = $1; sub(/^.*\) /, "")
            state[pid] = $1; parent[pid] = $2; start[pid] = $20
            if (pid == root || $3 == root || $4 == root) found[pid] = 1
        }
        END {
            do {
                grown = 0
                for (pid in parent) if (!(pid in found) && (parent[pid] in found)) { found[pid] = 1; grown = 1 }
            } while (grown)
            for (pid in found) if (state[pid] !~ /[ZX]/) print pid, start[pid]
        }' || true
}

# spawn PART COMMAND…: in a session of its own, so that it outlives the terminal; output goes to the part's log.
# SPAWN_AS names another account to run as. Sets LOG_MARK to where in the log this run begins.
MAX_LOG_BYTES=$((16 * 1024 * 1024))
spawn() {
    local part=$1 log=$LOGS/$1.log pid prefix=()
    shift
    if [[ -n ${SPAWN_AS:-} ]]; then
        prefix=(setpriv "--reuid=$SPAWN_AS" "--regid=$(id -g "$SPAWN_AS")" --init-groups)
    fi
    if [[ -e $log ]] && (($(stat -c %s -- "$log") > MAX_LOG_BYTES)); then mv -f -- "$log" "$log.1"; fi
    LOG_MARK=$(stat -c %s -- "$log" 2>/dev/null || echo 0)
    # A background command of a script ignores INT and QUIT; servers give them a meaning.
    (cd / && exec setsid env --default-signal=INT,QUIT "${prefix[@]}" "$@") </dev/null >>"$log" 2>&1 9>&- &
    pid=$!
    until stat_of "$pid" && [[ $STAT_PGRP == "$pid" ]]; do
        kill -0 "$pid" 2>/dev/null || part_failed "$part" "ended at once"
        sleep 0.005
    done
    printf '%s %s %s %s\n' "$pid" "$STAT_START" "$BOOT_ID" "$EPOCHSECONDS" >"$RUN/$part"
}

# part_failed PART WHAT: the end of its log, and exit.
part_failed() {
    printf '%s── the last lines of %s ──%s\n' "$UI_DIM" "$LOGS/$1.log" "$UI_OFF" >&2
    tail -n 20 -- "$LOGS/$1.log" >&2 || true
    die "$1 $2"
}

# await PART SECONDS COMMAND…: until COMMAND succeeds; the part's death or the time's end is a failure. With NO_WAIT=yes
# (start --no-wait) a part that runs is enough.
NO_WAIT=no
await() {
    [[ $NO_WAIT != yes ]] || return 0
    local part=$1 seconds=$2 deadline=$((EPOCHSECONDS + $2))
    shift 2
    until "$@"; do
        is_alive "$part" || part_failed "$part" "ended while starting"
        ((EPOCHSECONDS <= deadline)) || part_failed "$part" "was not ready within $seconds s"
        sleep "$POLL_SECONDS"
    done
}

# gone PART SECONDS: waits until the recorded process is no more.
gone() {
    local deadline=$((EPOCHSECONDS + $2))
    while is_alive "$1"; do
        ((EPOCHSECONDS <= deadline)) || return 1
        sleep "$POLL_SECONDS"
    done
}

# stop_process PART SIGNAL SECONDS [SIGNAL SECONDS]…: asks in rising tones, in the end with KILL.
stop_process() {
    local part=$1
    shift
    if is_alive "$part"; then
        if [[ $STAT_STATE == T ]]; then thaw_process "$part"; fi
        while (($#)); do
            kill "-$1" "$PID" 2>/dev/null || true
            if gone "$part" "$2"; then break; fi
            warn "$part has not ended $2 s after SIG$1"
            shift 2
        done
        if is_alive "$part"; then kill_process "$part"; fi
    fi
    rm -f -- "$RUN/$part"
}

# kill_process PART: SIGKILL to all of it, then asserts that nothing of it is left. The record stays: it is "dead".
kill_process() {
    local part=$1 tree pid start
    is_alive "$part" || die "$part is not running, so there is nothing to kill"
    kill -STOP "$PID" # a stopped process forks no more
    tree=$(tree_of "$PID")
    while read -r pid _; do kill -KILL "$pid" 2>/dev/null || true; done <<<"$tree"
    local deadline=$((EPOCHSECONDS + 10))
    while read -r pid start; do
        while stat_of "$pid" && [[ $STAT_START == "$start" && $STAT_STATE != [ZX] ]]; do
            ((EPOCHSECONDS <= deadline)) || die "$part: process $pid outlived SIGKILL by 10 s"
            sleep 0.005
        done
    done <<<"$tree"
}

freeze_process() {
    is_alive "$1" || die "$1 is not running, so there is nothing to freeze"
    local pid
    kill -STOP "$PID"
    while read -r pid _; do kill -STOP "$pid" 2>/dev/null || true; done < <(tree_of "$PID")
}

thaw_process() {
    is_alive "$1" || die "$1 is not running, so there is nothing to thaw"
    local pid
    while read -r pid _; do kill -CONT "$pid" 2>/dev/null || true; done < <(tree_of "$PID")
}

# Ports ----------------------------------------------------------------------------------------------------------------

# listener_of PORT: "INODE UID" of the socket that listens on it; fails where nobody does.
listener_of() {
    local hex
    printf -v hex ':%04X' "$1"
    # A kernel without IPv6 has no tcp6.
    { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true; } |
        awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = $10 " " $8 } END { if (found == "") exit 1; print found }'
}

# holder_of INODE UID: "pid 123 (command line)", as far as we may look
holder_of() {
    local fd pid
    fd=$(find /proc/[0-9]*/fd -maxdepth 1 -lname "socket:\[$1\]" 2>/dev/null | head -n 1) || true
    if [[ -z $fd ]]; then
        printf 'a process of the account %s' "$(id -un "$2" 2>/dev/null || printf '%s' "$2")"
        return
    fi
    pid=${fd#/proc/} pid=${pid%%/*}
    printf 'pid %s (%s)' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-100)"
}

# need_ports PART: nobody else listens on them.
need_ports() {
    local port inode uid
    for port in $(ports_of "$1"); do
        if read -r inode uid < <(listener_of "$port"); then
            die "port $port, which $1 needs, is in use by $(holder_of "$inode" "$uid")" \
                "stop that process, or move all ports of this stack: --port-offset 10000"
        fi
    done
}
