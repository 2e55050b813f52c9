#!/usr/bin/env bash
# Installs Debian packages as root without starting, stopping or making any service or cluster (why: packages.sh, which
# runs this). Restores what it put aside at every end that can be caught; what a SIGKILL leaves behind is inert, and put
# right by the next run.
#
# usage: install-packages.sh PACKAGE|PACKAGE…   (of several the first that this release offers)
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd)
# shellcheck source=ui.sh
. "$ROOT/stack/lib/ui.sh"
# shellcheck source=packages.sh
. "$ROOT/stack/lib/packages.sh"

POLICY=/usr/sbin/policy-rc.d
CLUSTER_CONF=/etc/postgresql-common/createcluster.conf
ASIDE=.before-deltafan
INSTALL_LOCK=/run/lock/deltafan-install.lock
DPKG_END_SECONDS=600 # the longest that a maintainer script may take after apt-get was killed

# A dpkg that outlived its apt-get is waited for: it must not meet the machine's own policy.
restore() {
    local i
    is_aside "$POLICY" "$ASIDE" || is_aside "$CLUSTER_CONF" "$ASIDE" || return 0
    if dpkg_runs; then say "waiting for dpkg to end, to put $POLICY back (Ctrl-C leaves that to the next install) …"; fi
    for ((i = 0; i < DPKG_END_SECONDS * 5; i++)); do
        if ! dpkg_runs; then break; fi
        sleep 0.2
    done
    put_back "$POLICY" "$ASIDE"
    put_back "$CLUSTER_CONF" "$ASIDE"
}

dpkg_runs() { grep -q ":$(stat -c %i /var/lib/dpkg/lock 2>/dev/null || echo none) " /proc/locks; }

# Forbids to whom this install started, told by the environment that maintainer scripts inherit. To all others, also
# should a SIGKILL have left it here, it does what the file before it did.
forbid_services() {
    set_aside "$POLICY" "$ASIDE"
    cat >"$POLICY.new" <<END
#!/bin/sh
# Put here by Deltafan for the time of one package install.
if [ -n "\$DELTAFAN_INSTALL" ]; then exit 101; fi
if [ -x $POLICY$ASIDE ]; then exec $POLICY$ASIDE "\$@"; fi
exit 0
END
    chmod 755 "$POLICY.new"
    mv -f -- "$POLICY.new" "$POLICY"
    export DELTAFAN_INSTALL=1
}

# The last line of the file wins.
forbid_cluster() {
    set_aside "$CLUSTER_CONF" "$ASIDE"
    printf '\ncreate_main_cluster = false\n' >>"$CLUSTER_CONF"
}

apt_install() {
    # needrestart would restart servers that were there.
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 NEEDRESTART_MODE=l \
        apt-get install -y -q --no-install-recommends --no-upgrade -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null 9>&- || {
        tail -n 20 -- "$log" >&2
        die "apt-get could not install $* (its whole output: $log)" "is the network there? a full disk? another apt running?"
    }
}

exec 9>"$INSTALL_LOCK"
flock 9
log=$(mktemp /tmp/deltafan-install.XXXXXX.log)
packages=()

restore # what a killed run left
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

forbid_services
apt-get update -q >>"$log" 2>&1 </dev/null || warn "apt-get update failed; going on with the package lists that are there"
for package in "$@"; do packages+=("$(offered "$package")"); done
set -- "${packages[@]}"
redis_was_there=$(dpkg-query -W -f='${Status}' redis-server 2>/dev/null || true)
if [[ " $* " == *" postgresql "* ]]; then
    apt_install postgresql-common # it brings createcluster.conf, and no server yet
    forbid_cluster
fi
apt_install "$@"
if [[ " $* " == *" redis-server "* && $redis_was_there != *' installed' ]]; then
    update-rc.d redis-server disable >>"$log" 2>&1 || true
    if command -v systemctl >/dev/null; then systemctl disable redis-server.service >>"$log" 2>&1 || true; fi
fi
rm -f -- "$log"
