"""A stand-in for web servers and name servers: tells every caller the address that it came from, and its own name."""

import selectors
import socket
import sys


def listen(kind: int, port: int) -> socket.socket:
    server = socket.socket(socket.AF_INET6, kind)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        server.listen(64)
    return server


def answer(address: str) -> bytes:
    return f"{sys.argv[1]} {address.removeprefix('::ffff:')}\n".encode()


def serve() -> None:
    watched = selectors.DefaultSelector()
    for port in (22, 53, 80, 443):
        watched.register(listen(socket.SOCK_STREAM, port), selectors.EVENT_READ)
    watched.register(listen(socket.SOCK_DGRAM, 53), selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            server = key.fileobj
            if server.type == socket.SOCK_STREAM:
                caller, peer = server.accept()
                with caller:
                    caller.sendall(answer(peer[0]))
            else:
                _, peer = server.recvfrom(512)
                server.sendto(answer(peer[0]), peer)


serve()
