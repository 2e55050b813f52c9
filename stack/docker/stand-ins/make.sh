#!/usr/bin/env bash
# Makes stand-ins for the official base images where no registry answers: images of the same names and the same interface,
# from Debian packages and the Rust toolchain of this machine. They are for trying the Dockerfiles and docker-compose.yml,
# not for running anything that matters: nobody publishes or mends them.
#
# An image that is there already, pulled or made, is left alone. Needs root, debootstrap and a Docker engine.
# usage: make.sh
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../../.." && pwd)
HERE=$ROOT/stack/docker/stand-ins
# shellcheck source-path=SCRIPTDIR source=../../lib/ui.sh
. "$ROOT/stack/lib/ui.sh"
SUITE=bookworm
MIRROR=http://deb.debian.org/debian

[[ $EUID == 0 ]] || die "debootstrap takes root"
command -v debootstrap >/dev/null || die "debootstrap is missing" "stack/lib/install-packages.sh debootstrap"
docker info >/dev/null 2>&1 || die "no Docker engine answers" "docker info"

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# image NAME: the tag that docker-compose.yml names for it
image() { sed -nE "s/.*\\\$\\{[A-Z_]+_IMAGE:-($1:[^}]+)\\}.*/\\1/p" "$ROOT/docker-compose.yml" | sort -u | head -n 1; }

is_there() { docker image inspect "$1" >/dev/null 2>&1; }

# The certificates of this machine's own authorities, where its way to the outside leads through them.
copy_authorities() {
    mkdir -p "$1/usr/local/share/ca-certificates" "$1/etc/ssl/certs"
    cp -- /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || true
}

make_debian() {
    debootstrap --variant=minbase "$SUITE" "$work/root" "$MIRROR" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2 && die "debootstrap failed"; }
    rm -rf -- "$work/root/var/cache/apt/archives/"*.deb "$work/root/var/lib/apt/lists/"* "$work/root/usr/share/doc/"* "$work/root/usr/share/locale/"*
    printf 'deb %s %s main\ndeb %s-security %s-security main\n' "$MIRROR" "$SUITE" "$MIRROR" "$SUITE" >"$work/root/etc/apt/sources.list"
    copy_authorities "$work/root"
    tar -C "$work/root" -c . | docker import -c 'CMD ["bash"]' - "$1" >/dev/null
    rm -rf -- "$work/root"
}

# build NAME TAG [CONTEXT]: by Dockerfile.NAME
build() {
    docker build -q -t "$2" --build-arg "DEBIAN_IMAGE=$(image debian)" -f "$HERE/Dockerfile.$1" "${3:-$HERE}" >"$work/log" 2>&1 || {
        tail -n 30 "$work/log" >&2
        die "could not build the stand-in for $2"
    }
}

make_rust() {
    local has sysroot
    has=$(rustc --version | cut -d' ' -f2)
    [[ $1 == rust:"$has"-* ]] || die "$1 is wanted, and the toolchain here is $has" "rustup default ${1#rust:}"
    sysroot=$(rustc --print sysroot)
    mkdir -p "$work/rust/toolchain"
    cp -a -- "$sysroot/bin" "$sysroot/lib" "$work/rust/toolchain/"
    build rust "$1" "$work/rust"
    rm -rf -- "$work/rust"
}

for name in debian rust postgres redis; do
    tag=$(image "$name")
    [[ -n $tag ]] || die "docker-compose.yml names no image of $name"
    since=$(now_ms)
    if is_there "$tag"; then
        done_step "$name" "$since" "$tag is there"
        continue
    fi
    case $name in
    debian) make_debian "$tag" ;;
    rust) make_rust "$tag" ;;
    *) build "$name" "$tag" ;;
    esac
    done_step "$name" "$since" "$tag: a stand-in"
done
