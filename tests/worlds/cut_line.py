"""The line to a PostgreSQL server, which breaks in the middle of a commit: before the server hears of it, or after."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal

COMMIT = b"COMMIT"
Side = Literal["question", "answer"]


class CutLine:
    """Passes on what is said at a socket in `folder` to the server's own; each cut breaks one connection."""

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder = str(folder)
        self._server = str(server / ".s.PGSQL.5432")
        self._cut: Side | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, side: Side) -> None:
        """Break the line where the next COMMIT would pass, as a question or as its answer."""
        self._cut = side

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                for ends in ((client, server, "question"), (server, client, "answer")):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, side: Side) -> None:
        with suppress(OSError):
            while raw := source.recv(1 << 16):
                if self._cut == side and COMMIT in raw:
                    self._cut = None
                    break
                target.sendall(raw)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
