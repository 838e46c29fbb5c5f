# Sourced by the setup scripts: installs Debian's packages without the services in them.
# shellcheck shell=bash

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
installed() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^.i'; }

root=()
as_root() { ${root[@]+"${root[@]}"} "$@"; }
apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" >&2; }

# install_packages PACKAGE... [-- SERVICE...]
#
# The tests start servers of their own. The packages start one for the whole machine;
# nobody asked for that, so it's forbidden while they are being installed, and afterwards
# the services that came with them are switched off. What was there before stays as it was.
install_packages() {
    local packages=() services=() policy=/usr/sbin/policy-rc.d service
    while [ $# -gt 0 ] && [ "$1" != -- ]; do packages+=("$1"); shift; done
    [ $# -eq 0 ] || { shift; services=("$@"); }
    [ ${#packages[@]} -gt 0 ] || return 0
    have apt-get || die "missing: ${packages[*]} (Debian's names); there is no apt-get here, so install them by hand"
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || die "missing: ${packages[*]}; run as root: apt-get install ${packages[*]}"
        root=(sudo)
    fi
    if [ ${#services[@]} -gt 0 ] && [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    say "installing: ${packages[*]}"
    apt update
    apt install --yes --no-install-recommends "${packages[@]}"
    if have systemctl && [ -d /run/systemd/system ]; then
        for service in ${services[@]+"${services[@]}"}; do
            as_root systemctl disable --now --quiet "$service" 2>/dev/null || true
        done
    fi
    say "done"
}
