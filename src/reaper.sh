# sh -c THIS sidecar-bundle-reaper PROGRAM LABEL
# Standard input: a line for each change of the owner's state. Standard output, read and not
# written: ends when the owner and the last of its engine commands have ended.
trap '' HUP INT TERM QUIT
exec 3<&0 4<&1 </dev/null >/dev/null 2>&1
program=$1 label=$2

bounded() {
    seconds=$1
    shift
    if command -v timeout >/dev/null; then timeout -s KILL "$seconds" "$@"; else "$@"; fi
}

engine() {
    bounded 60 "$program" "$@" 3<&- 4<&-
}

now() {
    date +%s
}

# What is there of the owner's own and adopted things: those of a kind, each by its id.
present() {
    resource=$1
    shift
    engine "$@" --quiet --no-trunc --filter "label=$label" || return
    for word in $state; do
        case $word in
            "+$resource:"*) engine "$@" --quiet --no-trunc --filter "id=${word#*:}" || return ;;
        esac
    done
}

# Removes each, unless it was kept.
remove() {
    ids=$1
    shift
    for id in $ids; do
        case " $state " in
            *" -$id "*) ;;
            *)
                absent=0
                engine "$@" "$id"
                ;;
        esac
    done
}

reap() {
    state=0
    while read -r line; do
        state=$line
    done <&3
    [ "${state%% *}" -gt 0 ] || exit 0

    # A command may outlive the owner that started it, and make its thing only then.
    command -v timeout && bounded 150 cat <&4
    # Without its program there is no way to an engine, and none will come.
    command -v "$program" || exit 1
    end=$(($(now) + 600))
    absent=0
    tries=0
    while [ "$absent" -lt 3 ] && [ "$(now)" -lt "$end" ]; do
        if containers=$(present container ps --all) && networks=$(present network network ls); then
            absent=$((absent + 1))
            remove "$containers" rm --force --volumes
            remove "$networks" network rm
        else
            absent=0
        fi
        # An engine that is away, or a thing that will not go, is asked less often.
        tries=$((tries + 1))
        if [ "$tries" -lt 20 ]; then sleep 0.25 || sleep 1; else sleep 2; fi
    done
}

reap &
