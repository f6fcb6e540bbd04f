"""The open connections of a server: counted, limited, and closed at its end."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

CLOSE_SECONDS: Final = 5  # for the threads of closed connections to end


class Connections:
    """At most ``limit`` open connections; thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[socket.socket] = set()
        self._waiting = False
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def waiting(self) -> bool:
        """Whether a connection waits for another one to end."""
        with self._changed:
            return self._waiting

    def add(self, connection: socket.socket) -> bool:
        """Wait until there is room for ``connection``; returns False if the server closes meanwhile."""
        with self._changed:
            self._waiting = True
            self._changed.wait_for(lambda: self._closed or len(self._open) < self._limit)
            self._waiting = False
            if not self._closed:
                self._open.add(connection)
            return not self._closed

    def remove(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def close(self) -> None:
        """End all connections and wait until their threads have seen it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, CLOSE_SECONDS)
