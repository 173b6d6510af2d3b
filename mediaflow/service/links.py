"""Links to renditions: signed, for one box and one task, and good for a while."""

from __future__ import annotations

import hmac
import json
import re
import secrets
import time
from dataclasses import dataclass
from urllib.parse import urlencode

# A link that a box cannot use within so many seconds of getting it is not worth having: it gets another
# when the item is given again.
SECONDS = 3 * 3600
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links and knows its own. The key is in memory only: links end with the process."""

    _key: bytes

    @classmethod
    def fresh(cls) -> Links:
        """With a key that nobody has had."""
        return cls(secrets.token_bytes(32))

    def to_rendition(self, asset: str, task: str, box: str) -> str:
        """The link (a path of the gateway) by which a box fetches what a task needs of an asset."""
        until = str(int(time.time()) + SECONDS)
        query = {"task": task, "box": box, "until": until}
        return f"/renditions/{asset}.tar?{urlencode({**query, 'signature': self._sign(asset, **query)})}"

    def is_good(self, asset: str, task: str, box: str, until: str, signature: str) -> bool:
        """Whether a link was made here, as it is, and is not over, by the clock of this machine."""
        if not _HASH.fullmatch(asset) or not until.isdecimal() or len(until) > 12 or not signature.isascii():
            return False
        ours = self._sign(asset, task=task, box=box, until=until)
        return hmac.compare_digest(ours, signature) and int(until) > time.time()

    def _sign(self, asset: str, *, task: str, box: str, until: str) -> str:
        # As JSON, so that two different links cannot be one text.
        text = json.dumps(["rendition", asset, task, box, until])
        return hmac.new(self._key, text.encode(), "sha256").hexdigest()
