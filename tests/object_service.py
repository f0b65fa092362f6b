"""A real S3 server on this machine, and a proxy before it that counts requests, slows them down and cuts them off."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def s3_server() -> Iterator[int]:
    """Moto's server in threads of this process; its port."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


class Proxy:
    """Forwards connections to a port of this machine.

    Attributes
    ----------
    requests
        First line of each request.
    cut_after
        Bytes of a request's body after which its connection is cut off, if it is a PUT.
    slow
        Seconds for each 64 KiB that are sent.
    answer
        Given instead of what the server says, if set.
    """

    def __init__(self, port: int) -> None:
        self.requests: list[str] = []
        self.sent = 0
        self.cut_after: int | None = None
        self.slow = 0.0
        self.answer = b""
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._to))
        threading.Thread(target=self._back, args=(server, client), daemon=True).start()
        of_put = 0
        with suppress(OSError):
            while data := client.recv(2**16):
                if found := re.match(rb"(GET|PUT|HEAD|POST|DELETE) [^\r]+", data):
                    self.requests.append(found[0].decode())
                    of_put = 0
                    if self.answer:
                        client.sendall(self.answer)
                        break
                of_put += len(data)
                self.sent += len(data)
                if self.cut_after is not None and of_put > self.cut_after:
                    break
                if len(data) > 2**12:
                    time.sleep(self.slow)
                server.sendall(data)
        for each in (client, server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(2**16):
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def forget_connections() -> None:
    """Make fsspec look at the environment again."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def environment(port: int) -> dict[str, str]:
    """Environment variables that lead to a server on this machine."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_EC2_METADATA_DISABLED": "true"}


def subprocess_environment(port: int, cache: os.PathLike[str]) -> dict[str, str]:
    return {**os.environ, **environment(port), "LCD_CACHE": os.fspath(cache)}
