"""The cable between a host and its databases, which a test can cut: nothing is refused then, nothing is answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType

from sqlalchemy import make_url

from crew_pipeline_tests.deployments import free_port

_RELAY = """
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def main():
    for port, target in (one.split("=", 1) for one in sys.argv[1:]):
        async def relay(reader, writer, target=target):
            opened = (asyncio.open_unix_connection(target) if target.startswith("/")
                      else asyncio.open_connection("127.0.0.1", int(target)))
            there, back = await opened
            await asyncio.gather(pump(reader, back), pump(there, writer))
        await asyncio.start_server(relay, "127.0.0.1", int(port))
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Cable:
    """A host's only way to some servers: a relay in a process of its own.

    Attributes:
        ports: at which the host finds them, in their order.
    """

    def __init__(self, servers: Sequence[str]) -> None:
        """Args:
        servers: the port of each on this machine, or the path of its socket.
        """
        self.ports = [free_port() for _ in servers]
        pairs = [f"{port}={server}" for port, server in zip(self.ports, servers, strict=True)]
        self._relay = subprocess.Popen([sys.executable, "-c", _RELAY, *pairs], stdout=subprocess.PIPE)
        assert self._relay.stdout is not None
        assert self._relay.stdout.readline() == b"up\n"

    def cut(self) -> None:
        """From now on nothing comes through, and neither side is told."""
        os.kill(self._relay.pid, signal.SIGSTOP)

    def mend(self) -> None:
        """What was under way arrives late."""
        os.kill(self._relay.pid, signal.SIGCONT)

    def __enter__(self) -> Cable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._relay.kill()
        self._relay.wait()
        if self._relay.stdout is not None:
            self._relay.stdout.close()


def socket_of(url: str) -> str:
    """The path of the socket of an embedded Postgres, from its address."""
    query = make_url(url).query
    return f"{query['host']}/.s.PGSQL.{query['port']}"


def through(url: str, port: int) -> str:
    """The address of a database of an embedded Postgres, by way of a port of this machine."""
    return make_url(url).set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
