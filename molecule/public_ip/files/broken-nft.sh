#!/bin/sh
# nft that fails to load a table once, as where the kernel is out of memory; asked to judge or to list, it works.
if [ "$*" = "-f -" ] && rm /run/nft-fails-once 2> /dev/null; then
  echo "no memory" >&2
  exit 1
fi
exec /usr/sbin/nft "$@"
