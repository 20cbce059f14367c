# sh -c THIS sidecar-bundle-reaper PROGRAM LABEL LIST-CONTAINERS REMOVE LIST-NETWORKS REMOVE LOOK ALIVE
# The four in the middle are arguments of the program; LOOK is not empty if the engine would remove a
# network that is in use; ALIVE is the file whose lock tells that the owner or one of its commands lives.
# Standard input: a line for each change of the owner's state. Standard output, read and not
# written: ends when the owner and the last of its engine commands have ended. Standard error: the file
# ALIVE, locked.
trap '' HUP INT TERM QUIT
exec 3<&0 4<&1 5<&2 </dev/null >/dev/null 2>&1
program=$1 label=$2
containers_ls=$3 container_rm=$4 networks_ls=$5 network_rm=$6
look=$7
alive=$8

bounded() {
    seconds=$1
    shift
    if command -v timeout >/dev/null; then timeout -s KILL "$seconds" "$@"; else "$@"; fi
}

engine() {
    bounded 60 "$program" "$@" 3<&- 4<&- 5<&-
}

now() {
    date +%s
}

# What is there of the owner's own and adopted things: those of a kind, each by its id.
present() {
    # shellcheck disable=SC2086 # A list of words.
    engine $2 --filter "label=$label" || return
    for word in $state; do
        case $word in
            # shellcheck disable=SC2086 # A list of words.
            "+$1:"*) engine $2 --filter "id=${word#*:}" || return ;;
        esac
    done
}

in_use() {
    [ "$1" = "$network_rm" ] && [ -n "$look" ] || return 1
    ! attached=$(engine ps --all --quiet --filter "network=$2") || [ -n "$attached" ]
}

# Removes each, unless it was kept.
remove() {
    for id in $1; do
        case " $state " in
            *" -$id "*) ;;
            *)
                absent=0
                # shellcheck disable=SC2086 # A list of words.
                in_use "$2" "$id" || engine $2 "$id"
                ;;
        esac
    done
}

reap() {
    state=0
    while read -r line; do
        state=$line
    done <&3
    [ "${state%% *}" -gt 0 ] || {
        rm -f "$alive"
        exit 0
    }

    # A command may outlive the owner that started it, and make its thing only then.
    command -v timeout && bounded 150 cat <&4
    rm -f "$alive"
    exec 5<&-
    # Without its program there is no way to an engine, and none will come.
    command -v "$program" || exit 1
    end=$(($(now) + 600))
    absent=0
    tries=0
    while [ "$absent" -lt 3 ] && [ "$(now)" -lt "$end" ]; do
        if containers=$(present container "$containers_ls") &&
            networks=$(present network "$networks_ls"); then
            absent=$((absent + 1))
            remove "$containers" "$container_rm"
            remove "$networks" "$network_rm"
        else
            absent=0
        fi
        # An engine that is away, or a thing that will not go, is asked less often.
        tries=$((tries + 1))
        if [ "$tries" -lt 20 ]; then sleep 0.25 || sleep 1; else sleep 2; fi
    done
}

reap &
