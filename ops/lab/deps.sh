#!/bin/bash
# What the tests use beside Go, as Debian packages. As root on a machine with
# apt-get, missing ones are installed, and none of their services is started; otherwise
# they are listed, and tests that want one skip with a reason.
set -euo pipefail

# The command (or file) that shows a package is there, and the package.
needs='
/usr/lib/postgresql/*/bin/initdb  postgresql
/usr/sbin/pgbouncer               pgbouncer
/usr/sbin/freeradius              freeradius
radclient                         freeradius-utils
/usr/sbin/xl2tpd                  xl2tpd
/usr/sbin/pppd                    ppp
linux.uml                         user-mode-linux
/usr/sbin/modprobe                kmod
/usr/sbin/ip                      iproute2
busybox                           busybox-static
tshark                            tshark
/usr/bin/dumpcap                  wireshark-common
prometheus                        prometheus
gcc                               gcc
/usr/include/stdio.h              libc6-dev
/usr/sbin/l2tpns                  l2tpns
/usr/sbin/charon-systemd          charon-systemd
/usr/sbin/swanctl                 strongswan-swanctl
/usr/lib/ipsec/plugins/libstrongswan-gcm.so           libstrongswan-standard-plugins
/usr/lib/ipsec/plugins/libstrongswan-eap-mschapv2.so  libcharon-extauth-plugins
/usr/lib/ipsec/plugins/libstrongswan-curve25519.so    libstrongswan-extra-plugins
/usr/sbin/iptables-legacy         iptables
tcpdump                           tcpdump
openssl                           openssl
'

have() {
	case $1 in
	/*) compgen -G "$1" >/dev/null ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

missing=()
while read -r what package; do
	[ -z "$what" ] || have "$what" || missing+=("$package")
done <<<"$needs"

if [ ${#missing[@]} -eq 0 ]; then
	echo 'deps: everything that the tests use is installed'
	exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "deps: not installed: ${missing[*]}"
	echo "deps: tests that need them are skipped; on Debian, as root: apt-get install ${missing[*]}"
	exit 0
fi

# The tests start their own servers: a policy of 101 keeps Debian's from starting.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
	trap 'rm -f $policy' EXIT
fi
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update -q && apt-get install -qy --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
	tail -40 "$log"
	echo "deps: apt-get failed; its whole output is in $log" >&2
	exit 1
fi
rm -f "$log"
echo "deps: installed ${#missing[@]} packages"
