"""Two hosts that are real to the kernel, and the link between them, which can be slow, lossy and cut.

Each host is a network namespace with a TUN device of its own. This process carries IP packets from one to
the other, each after a delay, some never: so both ends speak the kernel's own TCP, also without its netem.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
LARGEST = 65_536
# Packets that wait in each direction: those that come then are lost, as in a router.
QUEUE = 10_000


def why_not() -> str:
    """What keeps this machine from having hosts and links; empty where nothing does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed: apt-get install iproute2"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    name = f"mf-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=False)
    return ""


@dataclass(slots=True)
class Host:
    """A network namespace with a loopback and one address; `core` is the only one its processes may use."""

    name: str
    address: str
    core: int | None = None
    device: int = -1  # the descriptor of its TUN device

    def command(self, *command: str) -> list[str]:
        """A command as this host would run it."""
        pinned = [] if self.core is None else ["taskset", "--cpu-list", str(self.core)]
        return ["ip", "netns", "exec", self.name, *pinned, *command]

    @contextmanager
    def here(self) -> Iterator[None]:
        """This thread is on the host, and so is all that it starts, until the end of the block."""
        cores = os.sched_getaffinity(0)
        with open("/proc/thread-self/ns/net") as before:
            _enter(f"/var/run/netns/{self.name}")
            if self.core is not None:
                os.sched_setaffinity(0, {self.core})
            try:
                yield
            finally:
                os.sched_setaffinity(0, cores)
                _enter(before.fileno())


@dataclass(slots=True)
class Link:
    """The way between two hosts: `delay` seconds each way, `loss` of 1, or `cut`; change them at any time."""

    first: Host
    second: Host
    delay: float = 0.0
    loss: float = 0.0
    cut: bool = False
    seed: int = 0
    packets: int = 0
    lost: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Carry packets from now on, each direction in a thread of its own."""
        ways = ((self.first.device, self.second.device), (self.second.device, self.first.device))
        for number, (here, there) in enumerate(ways):
            dice = random.Random(self.seed * 2 + number)
            thread = threading.Thread(target=self._carry, args=(here, there, dice), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Carry no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5)

    def _carry(self, here: int, there: int, dice: random.Random) -> None:
        waiting: list[tuple[float, int, bytes]] = []
        number = 0
        while not self._stop.is_set():
            pause = 0.2 if not waiting else max(0.0, min(0.2, waiting[0][0] - time.monotonic()))
            if select.select([here], [], [], pause)[0]:
                packet = os.read(here, LARGEST)
                self.packets += 1
                if self.cut or dice.random() < self.loss or len(waiting) >= QUEUE:
                    self.lost += 1
                else:
                    number += 1
                    heapq.heappush(waiting, (time.monotonic() + self.delay, number, packet))
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                os.write(there, heapq.heappop(waiting)[2])


@contextmanager
def two_hosts(cores: tuple[int | None, int | None] = (None, None), seed: int = 0) -> Iterator[Link]:
    """Two hosts, 10.77.0.1 and 10.77.0.2, and the link between them; all gone after it."""
    tag = f"mf{os.getpid()}"
    hosts = [Host(f"{tag}{'ab'[n]}", f"10.77.0.{n + 1}", cores[n]) for n in range(2)]
    made: list[Host] = []
    link = Link(*hosts, seed=seed)
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
            made.append(host)
            host.device = _in_namespace(host.name, _open_tun)
            _ip("-n", host.name, "link", "set", "lo", "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "tun0")
            _ip("-n", host.name, "link", "set", "tun0", "up", "txqueuelen", "10000")
        link.start()
        yield link
    finally:
        link.stop()
        for host in made:
            if host.device >= 0:
                os.close(host.device)
            _ip("netns", "delete", host.name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _open_tun() -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _IFF_TUN | _IFF_NO_PI))
    return descriptor


def _enter(namespace: str | int) -> None:
    """Put this thread into a network namespace, by its file or a descriptor of that."""
    descriptor = namespace if isinstance(namespace, int) else os.open(namespace, os.O_RDONLY)
    try:
        if _LIBC.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "a network namespace cannot be entered")
    finally:
        if descriptor != namespace:
            os.close(descriptor)


def _in_namespace(name: str, action: Callable[[], int]) -> int:
    """What `action` returns in a thread that is in the namespace: a thread's namespace is its own."""
    found: list[int] = []
    errors: list[BaseException] = []

    def act() -> None:
        try:
            _enter(f"/var/run/netns/{name}")
            found.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found[0]
