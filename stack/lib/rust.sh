# shellcheck shell=bash
# The Rust toolchain: the one on the path or in its usual place, else the official installer's.

INSTALLER=https://static.rust-lang.org/rustup/rustup-init.sh # what https://sh.rustup.rs leads to

find_cargo() {
    local home=${CARGO_HOME:-$HOME/.cargo}
    if ! command -v cargo >/dev/null && [[ -x $home/bin/cargo ]]; then PATH=$home/bin:$PATH; fi
    command -v cargo >/dev/null
}

# rust_is_old: older than what Cargo.toml demands
rust_is_old() {
    local has needs
    has=$(cd "$ROOT" && cargo --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
    needs=$(sed -nE 's/^rust-version = "([0-9.]+)"/\1/p' "$ROOT/Cargo.toml")
    [[ $(printf '%s\n%s\n' "$has" "$needs" | sort -V | head -n 1) != "$needs" ]]
}

# need_rust YES [COMPONENT…]: afterwards there is a toolchain with these components (clippy, rustfmt). Where there is none it
# offers to install one; YES=yes, or nobody to ask, is consent.
need_rust() {
    local yes=$1 since component
    shift
    since=$(now_ms)
    if ! find_cargo; then
        install_rust "$yes" "$@"
        done_step rust "$since" "$(cargo --version)"
    elif rust_is_old; then
        die "$(cargo --version) is too old for this project" "rustup update stable (or https://rustup.rs for a newer one)"
    fi
    for component in "$@"; do
        if (cd "$ROOT" && cargo "${component/rustfmt/fmt}" --version) >/dev/null 2>&1; then continue; fi
        (cd "$ROOT" && rustup component add "$component") >/dev/null 2>&1 ||
            die "the Rust toolchain lacks $component" "rustup component add $component (or your distribution's package)"
    done
}

install_rust() {
    local yes=$1 script
    shift
    say "Rust is missing."
    if [[ $yes != yes && -t 0 ]]; then
        ask "Install it with the official installer (https://rustup.rs) into ${CARGO_HOME:-$HOME/.cargo}?" ||
            die "Deltafan is built with Rust" "install it (https://rustup.rs), then run this again"
    fi
    script=$(mktemp)
    curl --proto '=https' --tlsv1.2 -fsS -o "$script" "$INSTALLER" ||
        die "could not fetch the Rust installer: is the network there?" "https://rustup.rs"
    sh "$script" -y -q --profile minimal --no-modify-path "${@/#/--component=}" >"$script.log" 2>&1 || {
        tail -n 20 "$script.log" >&2
        die "the Rust installer failed"
    }
    rm -f "$script" "$script.log"
    find_cargo || die "cargo is still missing after the install"
}
