#!/usr/bin/env bash
# Prints what others script against, as a `quorate` binary has it: the help of every command,
# the answers of the REST and services' faces to a fixed row of requests, the metrics' names,
# kinds and labels. `scripts/public-faces.sh BINARY >FILE`; what two binaries differ in is a
# `diff` of their files. What differs from run to run (ids, times, ports, pids, places) is
# masked. One member, on three ports of 127.0.0.1 from FACES_PORT on (18010).
set -euo pipefail
shopt -s inherit_errexit

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { say "$@"; exit 1; }
[ $# -eq 1 ] || die "usage: $(basename "$0") BINARY >FILE"
command -v curl >/dev/null || die "curl is missing: apt-get install curl"
quorate=$(realpath "$1")
[ -x "$quorate" ] || die "$1 is no program"
port=${FACES_PORT:-18010}
admin=http://127.0.0.1:$((port + 1)) http=http://127.0.0.1:$port
export NO_COLOR=1 COLUMNS=100

folder=$(mktemp -d)
# By its own name, which stands in the help.
ln -s "$quorate" "$folder/quorate"
quorate=$folder/quorate
member=
finish() {
    if [ -n "$member" ] && kill "$member" 2>/dev/null; then
        for ((i = 0; i < 200; i++)); do kill -0 "$member" 2>/dev/null && sleep 0.1 || break; done
        kill -9 "$member" 2>/dev/null || true
        wait "$member" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

mask() {
    sed -E \
        -e "s#$folder#FOLDER#g" \
        -e "s#127\.0\.0\.1:$port\b#HTTP#g" \
        -e "s#127\.0\.0\.1:$((port + 1))\b#ADMIN#g" \
        -e "s#127\.0\.0\.1:$((port + 2))\b#PEER#g" \
        -e 's/K[0-9]{39}/CID/g' \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/TIME/g' \
        -e 's/^(date|quorate-uptime):.*/\1: MASKED/I' \
        -e 's/"(id|cluster|cluster_id|epoch)":"[0-9a-f-]+"/"\1":"MASKED"/g' \
        -e 's/"(id|cluster|cluster_id|epoch)":[0-9]+/"\1":MASKED/g' \
        -e 's/"(pid|uptime_ms|rtt_ms|took_ms|bytes|age_ms|rss_bytes|open_files)":[0-9.]+/"\1":MASKED/g' \
        -e 's/[[:space:]]+$//'
}

# Each command's help, then those of the commands that it lists.
helps() {
    printf '\n== quorate %s--help\n' "${*:+$* }"
    local text
    text=$("$quorate" "$@" --help 2>&1)
    printf '%s\n' "$text"
    local name
    for name in $(sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' <<<"$text"); do
        [ "$name" = help ] || helps "$@" "$name"
    done
}

ask() {
    printf '\n== %s\n' "$*" | mask
    curl --silent --show-error --max-time 10 --include "$@" 2>&1 | tr -d '\r' | mask ||
        die "no answer to: $*"
    printf '\n'
}

rest() {
    local put=(-X PUT -H 'Content-Type: application/json' -d)
    ask "$admin/health/live"
    ask "$admin/health/ready"
    ask "$admin/leader"
    ask "$admin/connector-server"
    ask "$admin/v1/cluster/leader"
    ask "$admin/v1/cluster/members"
    ask "$admin/v1/cluster/settings"
    ask "$admin/v1/config"
    ask "$admin/v1/config/nonsense"
    ask "${put[@]}" '{"upstream":"http://127.0.0.1:9/x","timeout_ms":500}' "$admin/v1/config/service/orders"
    ask "${put[@]}" '{"upstream":"http://127.0.0.1:9/x","timeout_ms":500}' -H 'If-None-Match: *' "$admin/v1/config/service/orders"
    ask "${put[@]}" '{"upstream":"ftp://x","timeout_ms":-1,"colour":"red","retries":"two"}' "$admin/v1/config/service/bad"
    ask "${put[@]}" '{"upstream":' "$admin/v1/config/service/bad"
    ask "${put[@]}" '[]' "$admin/v1/config/service/bad"
    ask "${put[@]}" '{"path":"/orders/{id}","service":"orders"}' "$admin/v1/config/http_channel/orders"
    ask "${put[@]}" '{"path":"orders","service":"nobody","methods":[]}' "$admin/v1/config/http_channel/bad"
    ask "${put[@]}" '{"host":"127.0.0.1","port":9,"username":"u","password":"hidden"}' "$admin/v1/config/amqp_connection/rabbit"
    ask "${put[@]}" '{"connection":"rabbit","queue":"q","service":"orders"}' "$admin/v1/config/amqp_channel/orders"
    ask "${put[@]}" '{"connection":"nobody","queue":"","prefetch":0,"fence":"x","on_failure":{"retries":-1}}' "$admin/v1/config/amqp_channel/bad"
    ask "${put[@]}" '{"connection":"rabbit","exchange":"","routing_key":"q"}' "$admin/v1/config/amqp_outgoing/orders"
    ask "${put[@]}" '{"host":"127.0.0.1","port":9,"queue_manager":"QM1","channel":"APP"}' "$admin/v1/config/ibm_mq_connection/mq"
    ask "${put[@]}" '{"host":"","port":0,"queue_manager":"much too long a name for a queue manager, this is","channel":"?"}' "$admin/v1/config/ibm_mq_connection/bad"
    ask "${put[@]}" '{"address":"tcp://127.0.0.1:9","socket_type":"PUSH","method":"connect"}' "$admin/v1/config/zmq_outgoing/push"
    ask "${put[@]}" '{"address":"udp://x","socket_type":"PAIR","method":"both","sub_key":1}' "$admin/v1/config/zmq_channel/bad"
    ask "${put[@]}" '{"username":"u","password":"hidden"}' "$admin/v1/config/basic_auth/people"
    ask "${put[@]}" '{"header":"X-Key","key":"hidden"}' "$admin/v1/config/api_key/keys"
    ask "$admin/v1/config/service"
    ask "$admin/v1/config/service/orders"
    ask "$admin/v1/config/amqp_connection/rabbit"
    ask "$admin/v1/config/basic_auth/people"
    ask "$admin/v1/config/service/absent"
    ask -X DELETE "$admin/v1/config/service/orders"
    ask -X DELETE "$admin/v1/config/basic_auth/people"
    ask -X DELETE -H 'If-Match: "1"' "$admin/v1/config/api_key/keys"
    ask -X PATCH "$admin/v1/config/service/orders"
    ask -X PUT --data-binary value "$admin/v1/kv/a/b%20c"
    ask -X PUT --data-binary value -H 'If-Match: "1"' "$admin/v1/kv/a/b%20c"
    ask "$admin/v1/kv/a/b%20c"
    ask "$admin/v1/kv/a/b%20c?consistency=stale"
    ask "$admin/v1/kv/a/b%20c?consistency=x"
    ask "$admin/v1/kv/absent"
    ask "$admin/v1/kv?prefix=a&limit=1"
    ask "$admin/v1/kv?limit=x"
    ask -X DELETE "$admin/v1/kv/a/b%20c"
    ask -X DELETE "$admin/v1/kv/a/b%20c"
    ask "$admin/v1/watch?from=x"
    ask "$admin/v1/connectors/nonsense/x/pause" -X POST
    ask "$admin/v1/connectors/amqp_channel/absent/pause" -X POST
    ask "$admin/v1/services/absent/invoke" -X POST
    ask "$admin/v1/services/orders/invoke" -X POST -d x
    ask "$admin/v1/outgoing/amqp_outgoing/absent/send" -X POST -d x
    ask "$admin/v1/outgoing/nonsense/x/send" -X POST -d x
    ask "$admin/v1/cluster/transfer-leadership" -X POST -H 'Content-Type: application/json' -d '{"to":"nobody"}'
    ask "$admin/v1/config/validate" -X POST -H 'Content-Type: application/json' -d '{"kind":"service","name":"x"}'
    ask "$admin/v1/config/apply" -X POST -H 'Content-Type: application/json' -d '[1]'
    ask "$admin/v1/nowhere"
    ask "$http/zato/ping"
    ask "$http/nowhere"
    ask -X DELETE "$http/orders/7"
    ask "$http/orders/7"
    ask -X POST "$http/orders/7" -d x
}

metrics() {
    printf '\n== metrics\n'
    curl --silent --max-time 10 "$admin/metrics" |
        sed -E '/^#/!s/ [^ ]+$/ VALUE/' | mask | sort -u
}

cli() {
    local arguments
    for arguments in "get service" "get service orders" "get service absent" "get nonsense" export \
        "kv list" "kv get absent" "apply -f $folder/absent.yaml" "apply -f $folder/bad.yaml" \
        "delete service absent" "connector pause absent" "cluster set failover_ms 1" nonsense; do
        printf '\n== quorate %s\n' "$arguments" | mask
        local status=0
        # shellcheck disable=SC2086 # the words of a command
        "$quorate" $arguments </dev/null >"$folder/out" 2>&1 || status=$?
        mask <"$folder/out"
        printf 'exit %s\n' "$status"
    done
}

helps
cat >"$folder/quorate.toml" <<EOF
name = "faces"
data_dir = "$folder/data"

[http]
bind = "127.0.0.1:$port"

[admin]
bind = "127.0.0.1:$((port + 1))"

[peer]
bind = "127.0.0.1:$((port + 2))"
EOF
printf 'kind: service\nname: a b\nupstream: 7\ncolour: red\n---\nkind: x\n' >"$folder/bad.yaml"
for ((i = 0; i < 3; i++)); do
    ! (: </dev/tcp/127.0.0.1/$((port + i))) 2>/dev/null ||
        die "port $((port + i)) is taken: set FACES_PORT to the first of three that are free"
done
"$quorate" server --config "$folder/quorate.toml" --bootstrap 2>"$folder/log" &
member=$!
ready=
for ((i = 0; i < 200; i++)); do
    kill -0 "$member" 2>/dev/null || { cat "$folder/log" >&2; die "the member ended"; }
    curl --silent --fail --max-time 1 --output /dev/null "$admin/health/ready" && ready=1 && break
    sleep 0.1
done
[ -n "$ready" ] || die "the member was not ready within 20 s"
export QUORATE_ADMIN=$admin
rest
cli
metrics
