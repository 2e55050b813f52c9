# shellcheck shell=bash
# The Rust toolchain: the one on the path or in its usual place, else the official installer's.

INSTALLER=https://static.rust-lang.org/rustup/rustup-init.sh # what https://sh.rustup.rs leads to
TOOLCHAIN=1.95.0 # what a machine without one gets, and what the checks are made with: the lints change with each release

# find_cargo: one that serves, on the path or in the installer's place, which then comes first on the path
find_cargo() {
    local usual=${CARGO_HOME:-$HOME/.cargo}/bin
    if cargo_serves; then return; fi
    [[ -x $usual/cargo ]] || return 1
    PATH=$usual:$PATH
    cargo_serves
}

# cargo_serves: it answers (a rustup without a toolchain does not), and is as new as Cargo.toml demands
cargo_serves() {
    local has needs
    has=$(cd "$ROOT" && cargo --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1) || return 1
    needs=$(sed -nE 's/^rust-version = "([0-9.]+)"/\1/p' "$ROOT/Cargo.toml")
    [[ $(printf '%s\n%s\n' "$needs" "$has" | sort -V | head -n 1) == "$needs" ]]
}

# need_rust YES [COMPONENT…]: afterwards there is a toolchain with these components (clippy, rustfmt). Where there is none, or
# one too old, it offers to install one; YES=yes, or nobody to ask, is consent.
need_rust() {
    local yes=$1 since component
    shift
    since=$(now_ms)
    [[ $ROOT != *[[:space:]]* ]] ||
        die "librdkafka can't be built in a folder whose path has a blank: $ROOT" "move this folder, and run this again there"
    if ! find_cargo; then
        install_rust "$yes" "$@"
        done_step rust "$since" "$(cargo --version)"
    fi
    for component in "$@"; do
        if (cd "$ROOT" && cargo "${component/rustfmt/fmt}" --version) >/dev/null 2>&1; then continue; fi
        (cd "$ROOT" && rustup component add "$component") >/dev/null 2>&1 ||
            die "the Rust toolchain lacks $component" "rustup component add $component (or your distribution's package)"
    done
}

install_rust() {
    local yes=$1 script has
    shift
    has=$(cd "$ROOT" && cargo --version 2>/dev/null) || has=''
    if [[ -n $has ]]; then say "$has is too old."; else say "Rust is missing."; fi
    if [[ $yes != yes && -t 0 ]]; then
        ask "Install $TOOLCHAIN with the official installer (https://rustup.rs) into ${CARGO_HOME:-$HOME/.cargo}, as your default?" ||
            die "Deltafan is built with Rust" "install it (https://rustup.rs), then run this again"
    fi
    script=$(mktemp)
    curl --proto '=https' --tlsv1.2 -fsS -o "$script" "$INSTALLER" ||
        die "could not fetch the Rust installer: is the network there?" "https://rustup.rs"
    sh "$script" -y -q --profile minimal --no-modify-path --default-toolchain "$TOOLCHAIN" "${@/#/--component=}" >"$script.log" 2>&1 || {
        tail -n 20 "$script.log" >&2
        die "the Rust installer failed"
    }
    rm -f "$script" "$script.log"
    find_cargo || die "there is still no cargo that serves after the install" "is another one set for this folder? rustup override list"
}
