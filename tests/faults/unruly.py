"""Services that do not keep to the rules. Runs alone, without this repository.

serve PORT ADDRESS      answers HTTP on an address
tree PORT               serves, beside children of every kind: in its group, in sessions of their own, stubborn
daemon PORT             serves, then puts a server without parent, group and session in its place and ends
respawn PORT            serves, and whoever of its two processes ends is started again by the other
naked PORT              serves, together with a process without any mark of where it came from
deaf                    never listens
"""

import http.server
import os
import signal
import socket
import subprocess
import sys
import time


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True


def serve(port: int, address: str = "127.0.0.1") -> None:
    Server.address_family = 10 if ":" in address else 2  # AF_INET6, AF_INET
    with Server((address, port), Answers) as server:
        server.serve_forever()


def again(*words: str, **how: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-I", "-S", __file__, *words], **how)  # type: ignore[call-overload,no-any-return]


def tree(port: int) -> None:
    again("deaf")
    again("deaf", start_new_session=True)
    again("stubborn", start_new_session=True)
    again("parent", start_new_session=True)
    serve(port)


def daemon(port: int) -> None:
    child = os.fork()
    if child == 0:
        serve(port)
    time.sleep(1.5)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            serve(port)
        os._exit(0)
    os.wait()


def respawn(port: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    while True:
        child = again("serve", str(port), "127.0.0.1", start_new_session=True)
        child.wait()


def naked(port: int) -> None:
    """Listen, and share the socket with a process of another parent, group, session, environment and directory."""
    listener = socket.create_server(("127.0.0.1", port))
    listener.set_inheritable(True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            words = [sys.executable, "-I", "-S", __file__, "inherit", str(listener.fileno())]
            os.execve(words[0], words, {"PATH": os.environ["PATH"]})
        os._exit(0)
    os.wait()
    inherit(listener.fileno())


def inherit(number: int) -> None:
    """Serve on a socket that was handed over."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = socket.socket(fileno=number)
        server.serve_forever()


def main(what: str, *words: str) -> None:
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what in ("deaf", "stubborn"):
        time.sleep(600)
    elif what == "parent":
        again("stubborn", start_new_session=True).wait()
    elif what == "serve":
        serve(int(words[0]), *words[1:])
    else:
        {"tree": tree, "daemon": daemon, "respawn": respawn, "naked": naked, "inherit": inherit}[what](int(words[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
