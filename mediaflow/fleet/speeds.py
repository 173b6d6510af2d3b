"""Speeds: how many items a second a GPU, or this machine, does of each task: measured, else guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HERE = "here"
# Guesses, for what was never measured: items a second of an RTX 3060 and of this machine ...
GUESSED = {"embed": 30.0, "ocr": 5.0, "nsfw": 50.0, "pose": 8.0, "transcribe": 1.0}
GUESSED_HERE = {"embed": 2.0, "ocr": 0.5, "nsfw": 4.0, "pose": 1.0, "transcribe": 0.05, "prepare": 5.0}
OTHER_TASK, OTHER_TASK_HERE = 5.0, 0.5
# ... and how fast a GPU's arithmetic at half precision is beside that of an RTX 3060 (makers' data sheets).
RELATIVE = {
    "GTX 1070": 0.4, "GTX 1080": 0.5, "GTX 1080 Ti": 0.6, "RTX 2060": 0.7, "RTX 2070": 0.8, "RTX 2080": 1.0,
    "RTX 2080 Ti": 1.2, "Tesla T4": 0.8, "Tesla P100": 0.8, "Tesla V100": 1.8, "RTX 3060": 1.0,
    "RTX 3060 Ti": 1.25, "RTX 3070": 1.4, "RTX 3070 Ti": 1.5, "RTX 3080": 1.9, "RTX 3080 Ti": 2.1,
    "RTX 3090": 2.2, "RTX 3090 Ti": 2.4, "RTX 4060": 1.15, "RTX 4060 Ti": 1.4, "RTX 4070": 1.8,
    "RTX 4070 Ti": 2.2, "RTX 4080": 2.8, "RTX 4090": 4.0, "RTX 5070": 2.0, "RTX 5080": 3.2, "RTX 5090": 5.5,
    "RTX A2000": 0.6, "RTX A4000": 1.3, "RTX A5000": 1.9, "RTX A6000": 2.4, "A10": 1.9, "A40": 2.3, "L4": 1.4,
    "L40": 3.6, "L40S": 4.0, "A100 PCIE": 4.0, "A100 SXM4": 4.2, "H100 PCIE": 7.0, "H100 SXM": 8.0,
}  # fmt: skip
# Decoding and fetching do not become faster with the GPU: of twice the arithmetic comes so much (2 ** GAIN).
GAIN = 0.65


@dataclass(frozen=True, slots=True)
class Speeds:
    """What was measured, as `ledger.rates` answers, and guesses for the rest."""

    measured: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def rate(self, gpu: str, task: str) -> float:
        """Items a second: as measured, else as measured of other GPUs, else guessed."""
        if (gpu, task) in self.measured:
            return self.measured[gpu, task]
        if gpu == HERE:
            return GUESSED_HERE.get(task, OTHER_TASK_HERE)
        others = [
            rate * (relative(gpu) / relative(other)) ** GAIN
            for (other, name), rate in self.measured.items()
            if name == task and other != HERE
        ]
        if others:
            return sorted(others)[len(others) // 2]
        return GUESSED.get(task, OTHER_TASK) * relative(gpu) ** GAIN

    def is_measured(self, gpu: str, tasks: Mapping[str, int]) -> bool:
        """Whether all these tasks were measured on this GPU."""
        return all((gpu, task) in self.measured for task in tasks)

    def seconds(self, gpu: str, items: Mapping[str, int]) -> float:
        """How long one of them works on these items, by task."""
        return sum(count / self.rate(gpu, task) for task, count in items.items())

    def speedup(self, gpu: str, items: Mapping[str, int]) -> float:
        """How many times faster than this machine it does these items."""
        taken = self.seconds(gpu, items)
        return self.seconds(HERE, items) / taken if taken > 0 else 1.0


def relative(gpu: str) -> float:
    """A GPU's speed beside an RTX 3060; that of one for what is not in the table."""
    return RELATIVE.get(gpu, 1.0)
