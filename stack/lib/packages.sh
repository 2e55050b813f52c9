# shellcheck shell=bash
# What the machine must have: Debian packages (stack/packages) and jars.
#
# Installing postgresql or redis-server starts the system's own server under Debian's default policy, and makes a cluster
# `main`. Neither is wanted, nor may a server that was there be restarted. So for the time of the install
#   - a policy-rc.d forbids every service action (and only to what this install runs, so that even a kill -9 leaves
#     nothing that matters);
#   - createcluster.conf says create_main_cluster = false;
#   - a redis-server that came just now is not enabled for the next boot, where it would take our port.
# Both files are restored to exactly what was there.

# set_aside FILE SUFFIX: what is there (or that nothing is) is kept beside it
set_aside() {
    if [[ -e $1 ]]; then
        cp -a -- "$1" "$1$2"
    else
        : >"$1$2.none"
    fi
}

# is_aside FILE SUFFIX: something was set aside and not put back yet
is_aside() { [[ -e $1$2 || -L $1$2 || -e $1$2.none ]]; }

# put_back FILE SUFFIX: exactly what set_aside found; does nothing where nothing was set aside
put_back() {
    if [[ -e $1$2 || -L $1$2 ]]; then
        mv -f -- "$1$2" "$1"
    elif is_aside "$1" "$2"; then
        rm -f -- "$1" "$1$2.none"
    fi
}

# missing_packages: "COMMAND PACKAGE WHAT FOR" per line
missing_packages() {
    local command package purpose
    while read -r command package purpose; do
        if [[ $command == '#'* || -z $command ]] || have_command "$command"; then continue; fi
        printf '%s\t%s\t%s\n' "$command" "$package" "$purpose"
    done < <(cat "$ROOT/stack/packages" ${FOR_TESTS:+"$ROOT/stack/packages.tests"})
}

have_command() {
    case $1 in
    postgres) postgres_bin >/dev/null ;;
    java) find_java ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# offered PACKAGE|PACKAGE…: the first that this release has; where the lists say nothing yet, the first
offered() {
    local package
    for package in ${1//|/ }; do
        if apt-cache show --no-all-versions "$package" >/dev/null 2>&1; then
            printf '%s' "$package"
            return
        fi
    done
    printf '%s' "${1%%|*}"
}

# install_packages [--for-tests] [--yes]
install_packages() {
    local missing command package purpose
    if [[ ${1:-} == --for-tests ]]; then FOR_TESTS=yes && shift; fi
    missing=$(missing_packages)
    if [[ -n $missing ]]; then
        say "missing:"
        while IFS=$'\t' read -r command package purpose; do
            printf '  %-14s %-26s %s\n' "$command" "$(offered "$package")" "$purpose" >&2
        done <<<"$missing"
        command -v apt-get >/dev/null || die "this is no Debian or Ubuntu: install the above by hand"
        if [[ ${1:-} != --yes && -t 0 ]]; then ask "Install these Debian packages?" || die "nothing was installed"; fi
        as_root_install "$missing"
    fi
}

# as_root_install MISSING: runs install_packages as root, in a process of its own (for its traps, and for sudo)
as_root_install() {
    local since packages missing
    since=$(now_ms)
    mapfile -t packages < <(cut -f2 <<<"$1" | sort -u)
    if [[ $EUID == 0 ]]; then
        "$BASH" "$ROOT/stack/lib/install-packages.sh" "${packages[@]}"
    elif command -v sudo >/dev/null; then
        sudo -- "$BASH" "$ROOT/stack/lib/install-packages.sh" "${packages[@]}"
    else
        die "installing packages takes root, and there is no sudo" \
            "ask for: apt-get install --no-install-recommends ${packages[*]%%|*}"
    fi
    missing=$(missing_packages)
    [[ -z $missing ]] || die "still missing after the install: $(cut -f1 <<<"$missing" | tr '\n' ' ')"
    done_step packages "$since" "${packages[*]%%|*}"
}
