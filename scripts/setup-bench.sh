#!/usr/bin/env bash
# Installs what `make bench-failover` measures beside Quorate: etcd, ZooKeeper, Redis with
# Sentinel, from Debian's packages. Does nothing when all is there.
set -euo pipefail
. "$(dirname "$0")/packages.sh"

missing=() services=()
need() { missing+=("$1"); shift; services+=("$@"); }

have etcd || need etcd-server etcd.service
[ -e /usr/share/java/zookeeper.jar ] || need zookeeper
have java || need default-jre-headless
have redis-server || need redis-server redis-server.service
have redis-sentinel || need redis-sentinel redis-sentinel.service
have setpriv || need util-linux

install_packages ${missing[@]+"${missing[@]}"} -- ${services[@]+"${services[@]}"}
