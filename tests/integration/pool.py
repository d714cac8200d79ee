"""A service with a connection of its own to the database; it answers every path, and echoes what a websocket says."""

import http.server
import os
import socketserver

from pg8000 import native


class Pooled(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        upgrade = self.headers.get("Upgrade")
        self.send_response(101 if upgrade else 200)
        for name, value in (
            {"Upgrade": upgrade, "Connection": "Upgrade"} if upgrade else {"Content-Length": "0"}
        ).items():
            self.send_header(name, value)
        self.end_headers()
        while upgrade and (data := self.connection.recv(4096)):
            self.connection.sendall(data)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


names = {"user": "PGUSER", "password": "PGPASSWORD", "database": "PGDATABASE", "host": "PGHOST", "port": "PGPORT"}
database = native.Connection(**{key: os.environ[name] for key, name in names.items()})
database.run("SELECT 1")
Server(("127.0.0.1", int(os.environ["DASHBOARD_PORT"])), Pooled).serve_forever()
