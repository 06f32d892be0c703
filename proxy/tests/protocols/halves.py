"""Sockets that are closed by halves: `serve`, or `call PORT`."""

import hashlib
import json
import platform
import socket
import sys
import threading

PIECE = bytes(range(256)) * 4096  # a mebibyte


def say(**what):
    print(json.dumps(what), flush=True)


def rest(sock):
    digest, count = hashlib.sha256(), 0
    while piece := sock.recv(65536):
        digest.update(piece)
        count += len(piece)
    return count, digest.hexdigest()


def answer(sock):
    who = sock.recv(1)
    try:
        if who == b"c":  # the client's half ends first
            count, digest = rest(sock)
            sock.sendall(json.dumps([count, digest]).encode())
        elif who == b"s":  # ours does
            sock.sendall(PIECE)
            sock.shutdown(socket.SHUT_WR)
            count, digest = rest(sock)
            say(after_our_half=count, sha256=digest)
        else:
            say(waits=True)
            say(end=repr(sock.recv(1)))
    except OSError as error:
        say(end=repr(error))
    sock.close()


def serve():
    listener = socket.create_server(("127.0.0.1", 0))
    say(listening=listener.getsockname()[1], version=f"sockets of Python {platform.python_version()}")
    while True:
        threading.Thread(target=answer, args=[listener.accept()[0]], daemon=True).start()


def call(port):
    said = hashlib.sha256(PIECE * 4).hexdigest()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"c" + PIECE * 2)
        say(step="sent half")
        sys.stdin.readline()
        sock.sendall(PIECE * 2)
        sock.shutdown(socket.SHUT_WR)
        answered = b""
        while piece := sock.recv(4096):
            answered += piece
        say(step="client first", whole=json.loads(answered) == [len(PIECE) * 4, said], sent=len(PIECE) * 4)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"s")
        count, digest = rest(sock)
        sock.sendall(PIECE * 2)
        say(step="server's half ended", whole=digest == hashlib.sha256(PIECE).hexdigest(), got=count)
        sys.stdin.readline()
        sock.sendall(PIECE * 2)
        sock.shutdown(socket.SHUT_WR)
        say(step="server first", sha256=said, sent=len(PIECE) * 4, end=repr(sock.recv(1)))
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"w")
        say(step="waits")
        try:
            say(end=repr(sock.recv(1)))
        except OSError as error:
            say(end=repr(error))


if sys.argv[1] == "serve":
    serve()
else:
    call(int(sys.argv[2]))
