#!/usr/bin/env bash
# Proves that the stack's package install starts no service, makes no cluster, and leaves the machine's policy as it was,
# under Debian's default policy too, where packages do start services.
#
# The package is a tiny one made here, whose maintainer script starts a service the way Debian's do; first installed by
# plain apt-get, where the service must start (else the test would prove nothing), then by ours. No server of the machine
# is touched. Needs root; exit status 0 if everything asserted holds.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib/packages.sh
. "$ROOT/stack/lib/packages.sh"
POLICY=/usr/sbin/policy-rc.d
ASIDE=.before-deltafan-test # a suffix: where the machine's own policy is during the test
CLUSTER_CONF=/etc/postgresql-common/createcluster.conf
NAME=deltafan-policy-probe
STARTED=/run/$NAME.started # written by the service when it starts
SEEN=/run/$NAME.seen       # written by the package: what createcluster.conf said during the install

[[ $EUID == 0 ]] || { echo "FAIL: installing packages takes root" && exit 1; }
work=$(mktemp -d)
passed=0
# invoke-rc.d starts nothing where there is no init system, or none ever reached a runlevel (a container); these say
# there is one that did, and where there is nobody to ask, stand-ins say so during the test.
export RUNLEVEL=5 PREVLEVEL=N
STAND_INS=(/sbin/init /sbin/runlevel)
STAND_IN='echo N 5 # the stand-in of a test'
for file in "${STAND_INS[@]}"; do
    if [[ ! -e $file && ! -L $file ]]; then
        printf '#!/bin/sh\n%s\n' "$STAND_IN" >"$file"
        chmod 755 "$file"
    fi
done

fail() { echo "FAIL: $*" && exit 1; }
assert() {
    local what=$1
    shift
    "$@" || fail "$what"
    passed=$((passed + 1))
    echo "ok: $what"
}
absent() { [[ ! -e $1 ]]; }

restore() {
    local file
    apt-get purge -y -q "$NAME" >/dev/null 2>&1 || true
    rm -f "$STARTED" "$SEEN" "$POLICY".before-deltafan "$POLICY".before-deltafan.none # an install's that was killed here
    put_back "$POLICY" "$ASIDE"
    for file in "${STAND_INS[@]}"; do
        if grep -qsF "$STAND_IN" "$file"; then rm -f "$file"; fi
    done
    rm -rf "$work"
}
if is_aside "$POLICY" "$ASIDE"; then
    put_back "$POLICY" "$ASIDE" # of a test that was killed
    rm -f "$POLICY".before-deltafan "$POLICY".before-deltafan.none
else
    put_back "$POLICY" .before-deltafan # of an install that was killed
fi
set_aside "$POLICY" "$ASIDE"
trap restore EXIT
trap 'exit 130' INT TERM HUP

build_probe() {
    local tree=$work/tree
    mkdir -p "$tree/DEBIAN" "$tree/etc/init.d"
    cat >"$tree/DEBIAN/control" <<END
Package: $NAME
Version: 1
Architecture: all
Maintainer: Deltafan <nobody@localhost>
Description: starts a service when installed, as server packages do
END
    cat >"$tree/etc/init.d/$NAME" <<END
#!/bin/sh
### BEGIN INIT INFO
# Provides:          $NAME
# Required-Start:    \$local_fs
# Required-Stop:
# Default-Start:     2 3 4 5
# Default-Stop:
# Short-Description: leaves a mark when started
### END INIT INFO
if [ "\$1" = start ]; then date >$STARTED; fi
exit 0
END
    cat >"$tree/DEBIAN/postinst" <<END
#!/bin/sh
set -e
tail -n 1 $CLUSTER_CONF >$SEEN 2>/dev/null || true
update-rc.d $NAME defaults >/dev/null
invoke-rc.d $NAME start || true
sleep "\${PROBE_SECONDS:-0}"
END
    cat >"$tree/DEBIAN/postrm" <<END
#!/bin/sh
if [ "\$1" = purge ]; then update-rc.d $NAME remove >/dev/null || true; fi
END
    chmod 755 "$tree/etc/init.d/$NAME" "$tree/DEBIAN/postinst" "$tree/DEBIAN/postrm"
    dpkg-deb --root-owner-group -b "$tree" "$work/$NAME.deb" >/dev/null
}

# settle: whatever dpkg outlived its apt-get has ended
settle() {
    while grep -q ":$(stat -c %i /var/lib/dpkg/lock) " /proc/locks; do sleep 0.2; done
}

remove_probe() {
    settle
    dpkg --configure "$NAME" >/dev/null 2>&1 || true # what a killed install left half-way
    # apt no longer knows a package that was purged and comes from no list.
    if dpkg-query -W "$NAME" >/dev/null 2>&1; then
        apt-get purge -y -q -o DPkg::Lock::Timeout=60 "$NAME" >"$work/purge" 2>&1 || fail "cannot purge: $(cat "$work/purge")"
    fi
    rm -f "$STARTED" "$SEEN"
}

ours() { "$ROOT/stack/lib/install-packages.sh" "$@" >/dev/null; }
installed() { [[ $(dpkg-query -W -f='${Status}' "$NAME" 2>/dev/null) == *' installed' ]]; }
sums() { sha256sum "$@" 2>/dev/null | sort; stat -c '%n %a %U %G %Y' "$@" 2>/dev/null; }
clusters() { find /etc/postgresql -mindepth 2 -maxdepth 2 2>/dev/null | sort; }
# The system's own servers, as its packages start them; what a stack runs in a state folder of its own is none.
servers() { { pgrep -u redis -x redis-server ; pgrep -f -- '-D /var/lib/postgresql/'; } 2>/dev/null | sort || true; }

await_probe() {
    local i
    for ((i = 0; i < 300; i++)); do
        if [[ -e $SEEN ]]; then return; fi
        sleep 0.1
    done
}

build_probe
remove_probe
conf_before=$(sums "$CLUSTER_CONF")
clusters_before=$(clusters)
servers_before=$(servers)

echo "Debian's default policy: no policy-rc.d"
rm -f "$POLICY"
apt-get install -y -q "$work/$NAME.deb" >/dev/null 2>&1
assert "plain apt-get starts the service (so this test can see one start)" test -e "$STARTED"
remove_probe
ours "$work/$NAME.deb"
assert "our install installs the package" installed
assert "our install does not start it" absent "$STARTED"
assert "afterwards there is no policy-rc.d, as before" absent "$POLICY"
remove_probe

echo "a policy of the machine's own"
printf '#!/bin/sh\nexit 104\n' >"$POLICY"
chmod 750 "$POLICY"
touch -d '2020-02-02' "$POLICY"
policy_before=$(sums "$POLICY")
ours "$work/$NAME.deb"
assert "a policy that allows is set aside: the service does not start" absent "$STARTED"
assert "the policy is restored with content, mode and time" test "$(sums "$POLICY")" == "$policy_before"
remove_probe

echo "ended half-way"
for signal in INT TERM; do
    PROBE_SECONDS=3 setsid env --default-signal=INT "$ROOT/stack/lib/install-packages.sh" "$work/$NAME.deb" >/dev/null 2>&1 &
    pid=$!
    await_probe
    assert "SIG$signal: it was installing at that moment" test -e "$SEEN"
    kill "-$signal" "-$pid" 2>/dev/null || true
    wait "$pid" || true
    settle
    assert "SIG$signal: the service did not start" absent "$STARTED"
    assert "SIG$signal: the policy is restored" test "$(sums "$POLICY")" == "$policy_before"
    remove_probe
done

PROBE_SECONDS=3 setsid "$ROOT/stack/lib/install-packages.sh" "$work/$NAME.deb" >/dev/null 2>&1 &
pid=$!
await_probe
assert "SIGKILL: it was installing at that moment" test -e "$SEEN"
kill -KILL "$pid"
status=0 && DELTAFAN_INSTALL=1 "$POLICY" || status=$?
assert "SIGKILL: what goes on installing is still forbidden to start services" test "$status" == 101
settle
assert "SIGKILL: the service did not start" absent "$STARTED"
status=0 && "$POLICY" || status=$?
assert "SIGKILL: to others the policy left behind answers as the machine's own" test "$status" == 104
remove_probe
ours "$work/$NAME.deb"
assert "SIGKILL: the next install restores the policy" test "$(sums "$POLICY")" == "$policy_before"
remove_probe

echo "the database's cluster"
if [[ -e $CLUSTER_CONF ]]; then
    "$ROOT/stack/lib/install-packages.sh" "$work/$NAME.deb" postgresql >/dev/null
    assert "during an install of postgresql no main cluster is to be made" grep -qx 'create_main_cluster = false' "$SEEN"
    assert "createcluster.conf is as before" test "$(sums "$CLUSTER_CONF")" == "$conf_before"
fi
assert "no cluster came or went" test "$(clusters)" == "$clusters_before"
assert "no server of the system's came or went" test "$(servers)" == "$servers_before"
echo "$passed passed, 0 failed"
