# shellcheck shell=bash
# What the user sees: one line per step with its elapsed time, warnings, and errors with a remedy.
# Colours only on a terminal, and not where NO_COLOR is set. Knows nothing of the stack.

if ((BASH_VERSINFO[0] < 5)); then
    echo "error: this is bash $BASH_VERSION; the scripts need bash 5 or later (macOS: brew install bash, then start them with it)" >&2
    exit 2
fi

if [[ -t 2 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    UI_BOLD=$'\e[1m' UI_DIM=$'\e[2m' UI_GREEN=$'\e[32m' UI_YELLOW=$'\e[33m' UI_RED=$'\e[31m' UI_OFF=$'\e[0m'
else
    UI_BOLD='' UI_DIM='' UI_GREEN='' UI_YELLOW='' UI_RED='' UI_OFF=''
fi

# Progress goes to standard error, so that standard output holds answers alone.
say() { printf '%s\n' "$*" >&2; }
heading() { printf '%s%s%s\n' "$UI_BOLD" "$*" "$UI_OFF" >&2; }
warn() { printf '%s!%s %s\n' "$UI_YELLOW" "$UI_OFF" "$*" >&2; }

# die MESSAGE [REMEDY…]: the error and, indented below, what to do about it.
die() {
    printf '%serror:%s %s\n' "$UI_RED" "$UI_OFF" "$1" >&2
    shift
    local line
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

now_ms() {
    local micros=${EPOCHREALTIME/[.,]/}
    printf '%s' "${micros%???}"
}

# elapsed SINCE_MS: "1.2 s"
elapsed() {
    local ms=$(($(now_ms) - $1))
    printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# done_step NAME SINCE_MS [DETAIL]
done_step() {
    printf '%s✓%s %-18s %s%8s%s  %s\n' "$UI_GREEN" "$UI_OFF" "$1" "$UI_DIM" "$(elapsed "$2")" "$UI_OFF" "${3:-}" >&2
}

# ask QUESTION: yes or no on the terminal; no is the default, and the answer where nobody can be asked.
ask() {
    local answer
    [[ -t 0 ]] || return 1
    printf '%s [y/N] ' "$1" >&2
    read -r answer || return 1
    [[ $answer == [yY]* ]]
}
