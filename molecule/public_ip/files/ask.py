"""Ask an echo server, over tcp or udp, and write out what it says; exit 1 where nothing answers within two seconds."""

import socket
import sys

kind, address, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as caller:
    caller.settimeout(2)
    try:
        caller.connect((address, int(port)))
        caller.send(b"?")
        sys.stdout.write(caller.recv(200).decode())
    except OSError as error:
        sys.exit(f"{address} port {port} over {kind}: {error}")
