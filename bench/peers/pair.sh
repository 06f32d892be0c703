# What the scripts of all peers have in common. Sourced by them; see bench/src/peer/mod.rs.

set -eu
clients=() servers=() began=

# What stands before each command of the callee's side where that is in another network namespace.
callee=()
if [ -n "$CALLEE" ]; then callee=("$WITHIN" within "$CALLEE"); fi

# Ends, with a reason, where a program is not there.
need() {
    command -v "$1" > "$WORK/which" && return
    printf '{"ready":false,"why":"%s is not installed"}\n' "$1"
    exit 0
}

# start client|server PROGRAM ARGUMENT...: one process of a side, in the background.
start() {
    local side=$1
    shift
    # Microseconds, without another process.
    began=${began:-${EPOCHREALTIME/[.,]/}}
    if [ "$side" = server ]; then set -- "${callee[@]}" "$@"; fi
    "$@" > "$WORK/$side.out" 2>> "$WORK/run.err" &
    if [ "$side" = client ]; then clients+=($!); else servers+=($!); fi
}

# ready VERSION: says so, and stays until both sides end or somebody wants them to.
ready() {
    local version=${1//[^A-Za-z0-9 .,:()_\/+~-]/}
    trap stop TERM INT
    printf '{"ready":true,"pids":[[%s],[%s]],"version":"%s","began_us":%s%s}\n' \
        "$(list "${clients[@]}")" "$(list "${servers[@]}")" "${version:0:100}" \
        "${began:-${EPOCHREALTIME/[.,]/}}" "${2:-}"
    if [ ${#clients[@]} -gt 0 ]; then
        wait -n "${clients[@]}" "${servers[@]}" || true
        echo "a side ended by itself" >&2
        stop
    fi
    # No proxy: nothing to wait for but the signal.
    sleep infinity &
    servers=($!)
    wait || true
}

stop() {
    trap - TERM INT
    kill "${clients[@]}" "${servers[@]}" 2> "$WORK/kill" || true
    wait || true
    exit 0
}

list() {
    local IFS=,
    echo "$*"
}

# The port of an address, and what stands before it.
port() {
    echo "${1##*:}"
}
host() {
    echo "${1%:*}"
}
