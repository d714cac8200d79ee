"""An echo server on a port of this machine. Runs alone, without this repository."""

import pathlib
import socketserver
import sys


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            with pathlib.Path("lines").open("ab") as lines:
                lines.write(line)
            self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", int(sys.argv[1])), Echo) as server:
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    server.serve_forever()
