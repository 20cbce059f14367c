# shellcheck shell=sh
# sh -c THIS docker SOCKET WORD...: the commands of docker's that a reaper needs, by the Engine API over a socket, for
# hosts that have curl and not docker.
socket=$1
shift

# ask METHOD PATH ARGUMENT...
ask() {
    method=$1 path=$2
    shift 2
    curl --silent --fail --max-time 50 --noproxy '*' --globoff --request "$method" --unix-socket "$socket" "$@" \
        "http://engine$path"
}

# ids PATTERN: prints the ids of a list. A quote in a label has a backslash before it.
ids() {
    printf '%s\n' "$answer" | tr ',' '\n' | sed -n "s/^[[{]*\"Id\":\"\\($1\\)\".*\$/\\1/p"
}
number='[0-9a-f]\{64\}'

# is_unsure SWARM: returns true for a manager that is locked, or does not reach the others: it does not see all networks.
is_unsure() {
    case $1 in
        *'"LocalNodeState":"locked"'*) return 0 ;;
        *'"ControlAvailable":true'*) ;;
        *) return 1 ;;
    esac
    case $1 in
        *'"LocalNodeState":"active"'*) ;;
        *) return 0 ;;
    esac
    case $1 in
        *'"Error":""'*) return 1 ;;
    esac
}

# Prints a field of the description of an engine.
field() {
    printf '%s\n' "$answer" | tr ',' '\n' | sed -n "s/^{*\"$1\":\"\\([^\"\\\\]*\\)\".*\$/\\1/p" | head -n 1
}

# The word after `--filter`, and the last one.
last='' filter=''
for word; do
    [ "$last" != --filter ] || filter=$word
    last=$word
done
filters="{\"${filter%%=*}\":[\"${filter#*=}\"]}"

case "$1 $2" in
    "info "*)
        answer=$(ask GET /info) || exit
        id=$(field ID) root=$(field DockerRootDir)
        # Registries have names, too; that of the host comes behind the directory.
        answer=${answer#*'"DockerRootDir":'}
        echo "$id|$(field Name)|$root"
        ! is_unsure "${answer#*'"Swarm":'}" || echo unsure
        ;;
    "ps "*)
        answer=$(ask GET /containers/json --get --data all=1 --data-urlencode "filters=$filters") || exit
        ids "$number"
        ;;
    "network ls")
        answer=$(ask GET /networks --get --data-urlencode "filters=$filters") || exit
        ids "$number"
        # That of a swarm's network.
        ids '[0-9a-z]\{25\}'
        ;;
    "rm "*) ask DELETE "/containers/$last?force=1&v=1" ;;
    "network rm") ask DELETE "/networks/$last" ;;
esac
