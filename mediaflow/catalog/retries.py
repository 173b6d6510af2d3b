"""When what failed is tried again by itself: soon and a few times, later and for ever, or never."""

from __future__ import annotations

import random
import time

from mediaflow.settings import load_settings

# A file that waits for something else (a model, a disk that can be read) is looked at ever more seldom.
LATER_SECONDS = 600.0
LATEST_SECONDS = 24 * 3600.0
GROWTH = 4
# `submit --wait` waits for what is tried again within this time, and lists the rest as failed.
WAITED_FOR_SECONDS = 120.0


def due(attempts: int, *, permanent: bool, blameless: bool) -> float | None:
    """When what has failed `attempts` times is tried again (Unix seconds); None when it is given up.

    What is `permanent` never is. What is `blameless` (a model is missing, a disk cannot be read) always
    is. For all else the settings say how often. Pauses grow, and differ by chance, so that files that
    failed together do not come back together.
    """
    retries = load_settings().retries
    if permanent:
        return None
    if blameless:
        pause = min(LATER_SECONDS * 2 ** min(attempts - 1, 20), LATEST_SECONDS)
    elif attempts < retries.attempts:
        pause = retries.seconds * GROWTH ** (attempts - 1)
    else:
        return None
    return time.time() + pause * random.uniform(0.5, 1.5)
