"""Several workers on this machine."""

from __future__ import annotations

import contextlib
import json
import socket


def cluster_configs(size: int) -> list[str]:
    """Returns the `TF_CONFIG` of each worker."""
    with contextlib.ExitStack() as sockets:
        ports = []
        for _ in range(size):
            server = sockets.enter_context(socket.socket())
            server.bind(("localhost", 0))
            ports.append(server.getsockname()[1])
    addresses = [f"localhost:{port}" for port in ports]
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(size)
    ]
