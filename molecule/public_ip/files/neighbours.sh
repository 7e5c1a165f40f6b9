#!/bin/sh
# Gives this server, as a gateway, a public side and a servers' side, each a bridge, with neighbours in network
# namespaces: visitor on the public side, web1, web2 and ns1 on the servers' side, which leave through the gateway.
set -eu

side() { # BRIDGE IPV4 IPV6
  bridge=$1
  shift
  ip link add "$bridge" type bridge
  ip link set "$bridge" up
  ip address add "$1" dev "$bridge"
  ip address add "$2" dev "$bridge" nodad
}

neighbour() { # NAME BRIDGE IPV4 IPV6 [GATEWAY4 GATEWAY6]
  ip netns add "$1"
  ip link add "to-$1" type veth peer name eth0 netns "$1"
  ip link set "to-$1" master "$2" up
  ip -n "$1" link set lo up
  ip -n "$1" link set eth0 up
  ip -n "$1" address add "$3" dev eth0
  ip -n "$1" address add "$4" dev eth0 nodad
  if [ $# -gt 4 ]; then
    ip -n "$1" route add default via "$5"
    ip -n "$1" -6 route add default via "$6"
  fi
  systemd-run --quiet --no-block --unit="echo-$1" ip netns exec "$1" python3 /usr/local/lib/echo.py "$1"
}

# Rules for bridged frames, where the kernel has them, would translate before the gateway routes.
mount -o remount,rw /proc/sys
sysctl -qe -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0

side pub0 198.51.100.2/24 2001:db8:77::2/64
side in0 10.89.77.2/24 fd00:89:77::2/64
neighbour visitor pub0 198.51.100.200/24 2001:db8:77::200/64
neighbour web1 in0 10.89.77.11/24 fd00:89:77::11/64 10.89.77.2 fd00:89:77::2
neighbour web2 in0 10.89.77.12/24 fd00:89:77::12/64 10.89.77.2 fd00:89:77::2
neighbour ns1 in0 10.89.77.31/24 fd00:89:77::31/64 10.89.77.2 fd00:89:77::2
