# shellcheck shell=bash
# The environment that our programs get: settings from files as data, and never a proxy between them.

# All that we talk to listens on loopback, where a proxy of the machine's does not lead. Some read the lower-case name, some
# the other.
direct_loopback() {
    local list=${no_proxy:-${NO_PROXY:-}}
    # An asterisk means every host, but only where it stands alone.
    if [[ $list != '*' && ,$list, != *,127.0.0.1,localhost,* ]]; then list=${list:+$list,}127.0.0.1,localhost; fi
    export no_proxy=$list NO_PROXY=$list
}
direct_loopback

# load FILE: KEY=VALUE lines, as data and never as shell code; what the environment already says wins
load() {
    local line key value
    [[ -r $1 ]] || return 0
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line%$'\r'}
        [[ $line =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] || continue
        key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
        if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
        if [[ -z ${!key+set} ]]; then export "$key=$value"; fi
    done <"$1"
}
