"""Faults of the server that holds the queues, and of the way to it."""

from __future__ import annotations

import signal

from tests.chaos.processes import send
from tests.chaos.scene import Impossible, NobodyThere, Scene, client, kill


def kill_server(scene: Scene) -> str:
    if scene.system.server is None:
        return kill(scene, "server")
    scene.system.server.kill()
    scene.last(0, 10 * scene.pace)
    scene.system.server.start()
    return "outside server"


def flush(scene: Scene) -> str:
    with client(scene) as redis:
        held = int(redis.dbsize())
        redis.flushall()
    return f"{held} keys"


def cut_connections(scene: Scene) -> str:
    if scene.system.server:
        return f"{scene.system.server.proxy.cut()} connections"
    with client(scene) as redis:
        return f"{redis.execute_command('CLIENT', 'KILL', 'TYPE', 'normal')} connections"


def _freeze(scene: Scene, seconds: tuple[float, float]) -> float:
    """Nothing is answered, nothing is closed."""
    server = scene.system.server
    if server:
        server.proxy.stall()
        lasted = scene.last(*seconds)
        server.proxy.flow()
        return lasted
    process = scene.victim("server")
    if process is None or not send(process.pid, signal.SIGSTOP):
        raise NobodyThere
    lasted = scene.last(*seconds)
    send(process.pid, signal.SIGCONT)
    return lasted


def stall(scene: Scene) -> str:
    return f"{_freeze(scene, (2, 2 + 10 * scene.pace)):.1f} s"


def delay(scene: Scene) -> str:
    """Every answer late."""
    server = scene.system.server
    if server is None:
        raise Impossible
    server.proxy.delay = scene.chance.uniform(0.05, 0.3)
    seconds = scene.last(2, 2 + 10 * scene.pace)
    server.proxy.flow()
    return f"{seconds:.1f} s"


def outage(scene: Scene) -> str:
    """A minute without the server, at full pace."""
    server = scene.system.server
    if server is None:
        return f"{_freeze(scene, (40 * scene.pace, 60 * scene.pace)):.1f} s, silent"
    server.proxy.refuse()
    seconds = scene.last(40 * scene.pace, 60 * scene.pace)
    server.proxy.flow()
    return f"{seconds:.1f} s"


def full_memory(scene: Scene) -> str:
    with client(scene) as redis:
        redis.config_set("maxmemory", 1)
        try:
            seconds = scene.last(2, 2 + 10 * scene.pace)
        finally:
            redis.config_set("maxmemory", 0)
    return f"{seconds:.1f} s"


def read_only(scene: Scene) -> str:
    """A replica of nobody, as after a failover. The embedded queue lets nobody make it one."""
    if scene.system.server is None:
        raise Impossible
    with client(scene) as redis:
        redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        seconds = scene.last(2, 2 + 10 * scene.pace)
        redis.execute_command("REPLICAOF", "NO", "ONE")
    return f"{seconds:.1f} s"
