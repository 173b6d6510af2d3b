"""Faults of processes: killed, stopped, all gone at once."""

from __future__ import annotations

import signal
import time

from tests.chaos.processes import send
from tests.chaos.scene import NobodyThere, Scene, kill


def kill_up(scene: Scene) -> str:
    return kill(scene, "up")


def kill_worker(scene: Scene) -> str:
    return kill(scene, scene.role("worker"))


def kill_busy_worker(scene: Scene) -> str:
    """A worker in the middle of its batch."""
    return kill(scene, "worker look", "worker ocr", "worker embed", busy=True)


def kill_child(scene: Scene) -> str:
    return kill(scene, scene.role("child"))


def kill_index_writer(scene: Scene) -> str:
    scene.last(0, 1)
    return kill(scene, "worker index")


def kill_submit(scene: Scene) -> str:
    return kill(scene, "submit")


def stop_for_a_while(scene: Scene) -> str:
    """SIGSTOP, then SIGCONT."""
    process = scene.victim(scene.chance.choice((scene.role("worker"), scene.role("child"), "up", "submit")))
    if process is None or not send(process.pid, signal.SIGSTOP):
        raise NobodyThere
    seconds = scene.last(1, 1 + 10 * scene.pace)
    send(process.pid, signal.SIGCONT)
    return f"{process.role} for {seconds:.1f} s"


def stop_for_good(scene: Scene) -> str:
    """SIGSTOP, and nobody wakes it: the system has to notice."""
    process = scene.victim(scene.role(scene.chance.choice(("worker", "child"))))
    if process is None or not send(process.pid, signal.SIGSTOP):
        raise NobodyThere
    scene.system.stopped_for_good.add(process.pid)
    return f"{process.role} ({process.pid})"


def power_cut(scene: Scene) -> str:
    """kill -9 of everything at once; the server's last writes may be lost."""
    system = scene.system
    count = system.power_cut()
    torn = 0
    if system.server:
        torn = scene.chance.choice((0, 0, 500, 5000))
        system.server.tear(torn)
        time.sleep(0.5)
        system.server.start()
    system.go_on()
    return f"{count} processes" + (f", {torn} bytes of the append-only file lost" if torn else "")
