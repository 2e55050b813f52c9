//! Mistakes of the machine: what is too old, not there, or set otherwise.

use super::row::{Mistake, ends};

/// As an account that is not root and finds no sudo; the scripts are read before, for that account may not.
const WITHOUT_SUDO: &str = r#"drop=(); ((EUID)) || drop=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    cd / && exec "${drop[@]}" bash -c "$(cat {root}/stack/lib/ui.sh {root}/stack/lib/packages.sh)"'
    command() { [[ $2 != sudo ]] && builtin command "$@"; }
    as_root_install $'\''postgres\tpostgresql\tthe database'\'"#;

/// Each ends with a message.
pub const MACHINE: &[Mistake] = &[
    ends(
        "the scripts are run by an old bash (macOS brings version 3)",
        &[
            "bash",
            "-c",
            "sed 's/BASH_VERSINFO\\[0\\] < 5/BASH_VERSINFO[0] < 99/' {root}/stack/lib/ui.sh | bash",
        ],
        &[],
        2,
        &[
            "this is bash",
            "the scripts need bash 5 or later (macOS: brew install bash, then start them with it)",
        ],
        "install a later one; it need not be the login shell",
    ),
    ends(
        "packages are missing, the account is not root, and there is no sudo",
        &["bash", "-c", WITHOUT_SUDO],
        &[],
        1,
        &["installing packages takes root, and there is no sudo", "ask for: apt-get install"],
        "let root install what is named, then go on",
    ),
    ends(
        "the `wal_level` of Postgres is not `logical`",
        &["{root}/e2e/src/scenarios/mistakes/not_logical.sh", "{root}", "{free-port}"],
        &[],
        1,
        &["the wal_level of Postgres is 'replica'", "ALTER SYSTEM SET wal_level = logical"],
        "set it, and restart Postgres",
    ),
];
