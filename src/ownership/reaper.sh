# shellcheck shell=sh
# sh -c THIS sidecar-bundle-reaper PROGRAM LABEL IDENTITY IDENTIFY LIST REMOVE LIST REMOVE LOOK
# IDENTIFY, which may be empty, prints IDENTITY, and a second line if the engine does not see all networks. LIST and
# REMOVE are for containers, then for networks. Each of these five is a list of arguments of PROGRAM, one a line. So
# is LOOK, which lists the containers of a network; it is empty if the engine never removes a network that is in use.
# Standard input is the socket of the owners' process, with a line "+OWNER LEASE-FILE" for each owner that is
# held, and a line "-OWNER" for each that has ended. Standard output, which is only read, ends with the process
# and the last of its programs that make something.
trap '' HUP INT TERM QUIT
exec 3<&0 4<&1 </dev/null >/dev/null 2>&1
set -f
nl='
'
IFS=$nl
program=$1 label=$2 identity=$3 identify=$4
containers_list=$5 container_remove=$6 networks_list=$7 network_remove=$8
look=$9

# Closes the descriptors that the process has inherited. dash cannot name one of two digits.
close_inherited() {
    set +f
    for fd in /proc/self/fd/* /dev/fd/*; do
        fd=${fd##*/}
        case $fd in
            [0-4] | '*') ;;
            [5-9]) eval "exec $fd>&-" ;;
            *[!0-9]*) ;;
            *) (eval "exec $fd>&-") && eval "exec $fd>&-" ;;
        esac
    done
    set -f
}

# bounded SECONDS COMMAND...
bounded() {
    seconds=$1
    shift
    if command -v timeout >/dev/null; then
        timeout -s KILL "$seconds" "$@"
        return
    fi
    # In the background, a command reads nothing unless it is told.
    { "$@" <&5 5<&- & } 5<&0
    command=$!
    (
        while [ "$seconds" -gt 0 ]; do
            sleep 1
            seconds=$((seconds - 1))
        done
        kill -KILL "$command"
    ) >/dev/null 3<&- 4<&- &
    watchdog=$!
    wait "$command"
    code=$?
    kill -KILL "$watchdog"
    wait "$watchdog"
    return "$code"
}

engine() {
    bounded 60 "$program" "$@" 3<&- 4<&-
}

now() {
    date +%s
}

# Reads the lease of the owner $1: `exempt` has the ids that are kept or another owner's; `adopted_container`
# and `adopted_network` those that are this owner's, whoever made them.
read_lease() {
    exempt='' adopted_container='' adopted_network='' network='' container='' kept='' owner='' path='' making='' settling=0
    eval "path=\$held_$1"
    [ -e "$path" ] || return 0
    ended=
    while [ -z "$ended" ] && read -r line; do
        case $line in
            owner=*) owner=${line#*=} ;;
            network=*) network=${line#*=} ;;
            container=*) container=${line#*=} ;;
            kept=*) kept=${line#*=} ;;
            making=*) making=${line#*=} ;;
            settling=*) settling=${line#*=} ;;
            end) ended=yes ;;
        esac
    done <"$path"
    [ -n "$ended" ] && are_ids "$container" && are_network_ids "$network" || return
    if [ "$owner" = "$1" ] && [ "$kept" = false ]; then
        adopted_container=$container adopted_network=$network
    else
        exempt=" $network $container "
    fi
}

# Returns true if each line is an id. A wrapper's notice is none, and may be the name of another's resource.
are_ids() {
    for line in $1; do
        case $line in
            *[!0123456789abcdefABCDEF]*) return 1 ;;
        esac
        [ "${#line}" -eq 64 ] || return
    done
}

# The same for networks: that of a swarm has 25 lower-case letters and digits.
are_network_ids() {
    for line in $1; do
        case ${#line}:$line in
            25:*[!0123456789abcdefghijklmnopqrstuvwxyz]*) return 1 ;;
            25:*) ;;
            *) are_ids "$line" || return ;;
        esac
    done
}

# present LIST ADOPTED: the ids of the owner's resources.
present() {
    # shellcheck disable=SC2086 # A list of words.
    engine $1 --filter "label=$label=$owner_now" || return
    # shellcheck disable=SC2086 # A list of words.
    [ -z "$2" ] || engine $1 --filter "id=$2"
}

in_use() {
    [ "$1" = "$network_remove" ] && [ -n "$look" ] || return 1
    # shellcheck disable=SC2086 # A list of words.
    ! attached=$(engine $look --filter "network=$2") || [ -n "$attached" ]
}

# remove IDS REMOVE
remove() {
    for id in $1; do
        case $exempt in
            *" $id "*) ;;
            *)
                absent=0
                # shellcheck disable=SC2086 # A list of words.
                in_use "$2" "$id" || engine $2 "$id"
                ;;
        esac
    done
}

# Returns true if the engine that answers is the one that the owners had.
is_same_engine() {
    # shellcheck disable=SC2086 # A list of words.
    [ -z "$identify" ] || { answer=$(engine $identify); [ "${answer%%"$nl"*}" = "$identity" ]; }
}

# Returns true if it also sees all networks. A manager of a swarm without a leader does not, and its answer goes on.
sees_all() {
    is_same_engine && { [ -z "$identify" ] || [ "$answer" = "$identity" ]; }
}

# Removes what the owner $1 left, until it has seen nothing three times, or more often and for fifteen seconds if the
# engine may be at work yet. It is called again and again.
reap_owner() {
    owner_now=$1
    eval "absent=\$absent_$1"
    # The file may change while it is read: it counts when it is the same twice.
    if read_lease "$1" && before="$exempt$adopted_container$adopted_network" && read_lease "$1" &&
        [ "$before" = "$exempt$adopted_container$adopted_network" ] &&
        { [ "$absent" -gt 0 ] || is_same_engine; } &&
        containers=$(present "$containers_list" "$adopted_container") &&
        networks=$(present "$networks_list" "$adopted_network") && are_ids "$containers" &&
        are_network_ids "$networks"; then
        absent=$((absent + 1))
        remove "$containers" "$container_remove"
        remove "$networks" "$network_remove"
        # An absence counts between two checks: the one after it is the one before the next.
        [ "$absent" -eq 0 ] || sees_all || absent=0
    else
        absent=0
    fi
    # A program that was killed, or does not end, may leave a request that the engine is at work on.
    looks=3
    least=0
    # Podman, the engine that has a LOOK, lists a container only when it has copied its image.
    if [ -n "$endless" ]; then
        looks=40
    elif [ -n "$making" ] || [ "$settling" -gt "$(now)" ]; then
        looks=8 least=15
        [ -z "$look" ] || looks=20
    fi
    eval "absent_$1=$absent"
    [ "$absent" -lt "$looks" ] || [ "$(now)" -lt $((began + least)) ]
}

# forget OWNER
forget() {
    others=
    for each in $held; do
        [ "$each" = "$1" ] || others=$others$each$nl
    done
    held=$others
}

reap() {
    close_inherited
    held=
    # Nobody listens if the process has ended already.
    trap '' PIPE
    echo ready >&3
    trap - PIPE
    while read -r line; do
        case $line in
            +*)
                line=${line#+}
                eval "held_${line%% *}=\${line#* }"
                forget "${line%% *}"
                held=$held${line%% *}$nl
                ;;
            -*) forget "${line#-}" ;;
        esac
    done <&3
    exec 3<&-
    [ -n "$held" ] || exit 0

    # A program may outlive the process that started it, and make its resource only then.
    endless=
    bounded 150 cat <&4 || endless=yes
    exec 4<&-
    # Without its program there is no way to an engine.
    command -v "$program" || exit 1
    began=$(now) tries=0
    end=$((began + 600))
    for each in $held; do eval "absent_$each=0"; done
    while [ -n "$held" ] && [ "$(now)" -lt "$end" ]; do
        left=
        for each in $held; do
            if reap_owner "$each"; then left=$left$each$nl; fi
        done
        held=$left
        # An engine that is away, or a resource that stays, is asked less often.
        tries=$((tries + 1))
        if [ "$tries" -lt 20 ]; then sleep 0.25 || sleep 1; else sleep 2; fi
    done
}

reap &
