# shellcheck shell=bash
# Which way a checkout runs: `docker` (docker-compose.yml) or `native` (ordinary processes). Decided at its first start and
# kept in the state folder until `clean`, because each way has data of its own: a stack that runs must not be joined by a
# second one on the same ports because somebody has started a Docker engine since.

# remembered_way STATE: what the first start decided; nothing where nothing was started. A state folder without a word on it
# is of a native stack.
remembered_way() {
    if [[ -r $1/way ]]; then
        cat -- "$1/way"
    elif [[ -e $1/port-offset ]]; then
        echo native
    fi
}

# docker_problem: why containers can't be run here, in a line; nothing where they can.
docker_problem() {
    local said
    command -v docker >/dev/null || { echo "there is no docker command" && return; }
    said=$(timeout 20 docker info 2>&1 >/dev/null) || { echo "no Docker engine answers: ${said%%$'\n'*}" && return; }
    timeout 20 docker compose version >/dev/null 2>&1 || echo "docker has no compose plugin (2.20 or later)"
}

# has_containers: this checkout has some, also where plain `docker compose` made them
has_containers() {
    command -v docker >/dev/null &&
        [[ -n $(timeout 20 docker container ls -aq --filter "label=com.docker.compose.project.working_dir=$ROOT" 2>/dev/null) ]]
}

# choose_way STATE WISH VERB: prints docker or native. WISH is docker, native or nothing.
choose_way() {
    local has wish=$2 problem
    has=$(remembered_way "$1")
    if [[ -n $has && -n $wish && $has != "$wish" ]]; then
        die "this checkout was started with --$has, and its data are there" \
            "to go on with them: leave --$wish out" "to begin anew, without them: ./quick_start.sh clean, then this again"
    fi
    if [[ -n $has ]]; then
        printf '%s' "$has"
    elif [[ $wish == native ]]; then
        printf native
    elif [[ -z $wish && $3 != start ]]; then
        if has_containers; then printf docker; else printf native; fi
    else
        problem=$(docker_problem)
        if [[ -z $problem ]]; then
            printf docker
        elif [[ $wish == docker ]]; then
            die "$problem" "start the engine, or leave --docker out: the stack runs natively, too"
        else
            if command -v docker >/dev/null; then say "$problem: no containers, but ordinary processes"; fi
            printf native
        fi
    fi
}

# remember_way STATE WAY
remember_way() {
    mkdir -p -- "$1"
    printf '%s\n' "$2" >"$1/way"
}
