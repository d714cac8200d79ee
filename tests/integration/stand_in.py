"""A service for tests: starts in no time and does what it is told. Runs alone, without this repository.

serve PORT [stubborn]   answers every path with its environment; /exit/N ends it with N, and after /status/N it
                        answers N; `stubborn` ignores TERM
watch WORDS…            runs the stand-in with these words, and outlives it, as file watchers do: it runs it again once
                        there is a file `changed`, which it removes
crash TEXT              fails with an error
stream PORT             answers with a stream of events that never ends, and announces that first
hold PORT               listens and never answers
sleep [SECONDS]         does nothing, for long
fail N [SECONDS]        says so and ends with N, after a while
write PATH TEXT…        adds a line to a file
reach PORT              says so as soon as something listens there
print LINE…             prints lines
"""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import time

LONG = 600.0


class Answers(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        if self.path.startswith("/status/"):
            Answers.status = int(self.path.rpartition("/")[2])
        if self.path.startswith("/exit/"):
            say("told to end")
            os._exit(int(self.path.rpartition("/")[2]))
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Streams(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        time.sleep(LONG)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def serve(port: int, answers: "type[http.server.BaseHTTPRequestHandler]") -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), answers) as server:
        say(f"serving on {port}")
        server.serve_forever()


def hold(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        say("deaf")
        time.sleep(LONG)


def watch(words: tuple[str, ...]) -> None:
    while True:
        subprocess.run([sys.executable, "-I", "-S", __file__, *words], check=False)
        while not os.path.exists("changed"):  # noqa: PTH110 - pathlib takes longer to import
            time.sleep(0.05)
        os.unlink("changed")  # noqa: PTH108


def reach(port: int) -> None:
    while True:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                say("reached")
                return
        time.sleep(0.01)


def fail(code: int, after: float) -> int:
    time.sleep(after)
    say(f"cannot go on: {code}")
    return code


def main(what: str, *words: str) -> int:
    if "stubborn" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what in ("serve", "stream"):
        serve(int(words[0]), Streams if what == "stream" else Answers)
    elif what == "hold":
        hold(int(words[0]))
    elif what == "watch":
        watch(words)
    elif what == "crash":
        sys.exit(f"Error: {words[0]}")
    elif what == "reach":
        reach(int(words[0]))
    elif what == "sleep":
        say("sleeping")
        time.sleep(float(words[0]) if words else LONG)
    elif what == "fail":
        return fail(int(words[0]), float(words[1]) if len(words) > 1 else 0.0)
    elif what == "write":
        with open(words[0], "a", encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to import
            file.write(" ".join(words[1:]) + "\n")
    else:
        say("\n".join(words))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
