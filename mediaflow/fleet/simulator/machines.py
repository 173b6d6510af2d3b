"""The machines of the simulated market: who owns them, where they stand, and how fast they truly are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from mediaflow.fleet.cost import IMAGE_GB
from mediaflow.fleet.spending import START_GB


@dataclass(frozen=True, slots=True)
class Model:
    """A GPU model: memory (GB), the usual price of an hour ($), and its speed beside an RTX 3060."""

    name: str
    ram_gb: int
    price: float
    speed: float
    compute: int
    share: float  # how many of the machines have it, relative to the others


# Typical prices on demand, and speeds of inference at half precision; orders of magnitude, not quotations.
MODELS = (
    Model("RTX 3060", 12, 0.075, 1.0, 860, 5),
    Model("RTX 3060 Ti", 8, 0.085, 1.2, 860, 3),
    Model("RTX 3070", 8, 0.095, 1.3, 860, 4),
    Model("RTX 3080", 10, 0.13, 1.8, 860, 4),
    Model("RTX 3090", 24, 0.2, 2.1, 860, 6),
    Model("RTX 4060 Ti", 16, 0.11, 1.35, 890, 4),
    Model("RTX 4070", 12, 0.14, 1.8, 890, 4),
    Model("RTX 4080", 16, 0.23, 2.7, 890, 3),
    Model("RTX 4090", 24, 0.38, 3.6, 890, 7),
    Model("RTX A4000", 16, 0.12, 1.25, 860, 4),
    Model("RTX A5000", 24, 0.2, 1.8, 860, 3),
    Model("L4", 24, 0.3, 1.2, 890, 2),
    Model("A100 PCIE", 40, 0.75, 3.2, 800, 2),
)
REGIONS = ("Germany, DE", "Sweden, SE", "Poland, PL", "France, FR", "Texas, US", "Quebec, CA", "Japan, JP")
# Items a second of an RTX 3060 (an item of transcribe: a minute of sound), and how much of a model's speed a
# task gets: decoding and fetching do not become faster with the GPU.
BASE_RATES = {"embed": 40.0, "ocr": 6.0, "nsfw": 60.0, "pose": 8.0, "transcribe": 2.0}
GAIN = {"embed": 0.6, "ocr": 0.7, "nsfw": 0.5, "pose": 0.6, "transcribe": 0.9}
MODELS_GB = START_GB - IMAGE_GB
ON_DISK_SECONDS = 45.0  # processes start, models go from disk to GPU
HUB_MBPS = 400.0


@dataclass(frozen=True, slots=True)
class Machine:
    """One rentable machine; `quality` and `level` are its speed and price beside others of its model."""

    id: int
    host: int
    model: Model
    region: str
    reliability: float
    verified: bool
    datacenter: bool
    cuda: float
    down_mbps: float
    up_mbps: float
    traffic_in: float
    traffic_out: float
    storage_month: float
    quality: float
    level: float

    @property
    def rates(self) -> Mapping[str, float]:
        """Its true items a second by task."""
        return {
            task: base * self.model.speed ** GAIN[task] * self.quality for task, base in BASE_RATES.items()
        }

    @property
    def pulling(self) -> float:
        """Seconds it takes to fetch the image: its state is `loading`, and only its disk costs."""
        return 20 + IMAGE_GB * 8000 / min(self.down_mbps, 900)

    @property
    def warming(self) -> float:
        """Seconds from `running` to the first item: the models come over its network, and onto the GPU."""
        return ON_DISK_SECONDS + MODELS_GB * 8000 / min(self.down_mbps, HUB_MBPS)


def machines(seed: int, count: int = 64) -> list[Machine]:
    """The machines of the market with this seed, on hosts that have one to four each."""
    random = Random(f"machines {seed}")
    found: list[Machine] = []
    host = 1000
    while len(found) < count:
        host += random.randint(1, 90)
        region = random.choice(REGIONS)
        datacenter = random.random() < 0.3
        reliability = min(0.999, 1 - random.expovariate(1 / 0.012))
        verified = datacenter or random.random() < 0.75
        down = min(3000.0, max(40.0, random.lognormvariate(math.log(600), 0.7)))
        dear = random.lognormvariate(0, 0.12) * (1.15 if datacenter else 1)
        cuda = random.choice((12.2, 12.4, 12.6, 12.8, 13.0))
        for _ in range(min(random.randint(1, 4), count - len(found))):
            model = random.choices(MODELS, [each.share for each in MODELS])[0]
            found.append(
                Machine(
                    id=10_000 + len(found) * 7 + random.randint(0, 6),
                    host=host,
                    model=model,
                    region=region,
                    reliability=reliability,
                    verified=verified,
                    datacenter=datacenter,
                    cuda=cuda,
                    down_mbps=round(down, 1),
                    up_mbps=round(down * random.uniform(0.3, 1), 1),
                    traffic_in=random.choice((0.0, 0.0, 0.001, 0.003, 0.008)),
                    traffic_out=random.choice((0.0, 0.001, 0.004, 0.01)),
                    storage_month=round(random.uniform(0.08, 0.25), 3),
                    quality=random.lognormvariate(0, 0.08),
                    level=dear * random.lognormvariate(0, 0.1),
                )
            )
    return found
