"""A chat server on loopback that says what a test tells it to: true, false, slowly, or half."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

Script = list[tuple[float, bytes]]
"""Seconds to wait, then bytes to send. After the last the connection stays open; an empty send closes it."""
Asked = dict[str, Any]
Behaviour = Callable[[Asked], Script]
CLOSE = b""


def reply(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole HTTP answer."""
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def completion(content: str) -> bytes:
    """What a chat server answers when all is well."""
    return reply(json.dumps({"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}).encode())


def dripping(data: bytes, pause_s: float = 0.05) -> Script:
    """Byte by byte: each is in time, the whole never is."""
    return [(pause_s, data[n : n + 1]) for n in range(len(data))]


class ChatServer:
    """`behaviour` says what comes of a request; `asked` and `headers` are what came in, `connections` how often someone called."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = lambda asked: [(0.0, completion("{}"))]
        self.asked: list[Asked] = []
        self.headers: list[dict[str, str]] = []
        self.connections = self.ended = 0
        self.stopped = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @contextmanager
    def running(self) -> Iterator["ChatServer"]:
        """Listens until left."""
        chat = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                chat.serve(self.request)

        class Server(ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128
            block_on_close = False

        with Server(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self.stopped.set()
                server.shutdown()
                thread.join()

    def serve(self, connection: socket.socket) -> None:
        """One connection, request by request."""
        self.connections += 1
        try:
            while (asked := self._request(connection)) is not None:
                for pause_s, data in self.behaviour(asked):
                    if self.stopped.wait(pause_s):
                        return
                    if data == CLOSE:
                        return
                    connection.sendall(data)
        except OSError:
            pass  # the client has gone, as it should from some of these
        finally:
            self.ended += 1

    def _request(self, connection: socket.socket) -> Asked | None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            part = connection.recv(65536)
            if not part:
                return None
            raw += part
        head, _, body = raw.partition(b"\r\n\r\n")
        pairs = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:]]
        headers = {name.lower(): value for name, value in pairs}
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65536)
        self.headers.append(headers)
        asked: Asked = json.loads(body)
        self.asked.append(asked)
        return asked
