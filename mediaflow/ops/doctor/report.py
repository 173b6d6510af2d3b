"""What the doctor says: findings, each of one check, that all is well, was repaired, or needs a person."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mediaflow.errors import MediaflowError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediaflow.settings import Settings

# After a message that says itself what to do.
AGAIN = "Then run this again."

State = Literal["ok", "repaired", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `next` says what a person should do, where one must."""

    check: str
    state: State
    what: str
    next: str | None = None


@dataclass(slots=True)
class Examination:
    """One visit: what was found so far, and whether anything may be changed.

    `settings` are None where they cannot be read: then nothing is repaired that depends on them.
    """

    dry_run: bool = False
    models: bool = False
    settings: Settings | None = None
    findings: list[Finding] = field(default_factory=list)

    def ok(self, check: str, what: str) -> None:
        """All is well, unless the same check has found something else."""
        if not any(finding.check == check for finding in self.findings):
            self.findings.append(Finding(check, "ok", what))

    def problem(self, check: str, what: str, next: str) -> None:
        """Something that a person must do."""
        self.findings.append(Finding(check, "problem", what, next))

    def mend(self, check: str, what: str, done: str, repair: Callable[[], object]) -> None:
        """Something that `repair` puts right (`done` says how); in a dry run it is only told."""
        if self.dry_run:
            self.problem(check, what, "mediaflow doctor")
            return
        try:
            repair()
        except (MediaflowError, OSError) as error:
            self.problem(check, f"{what}: {error}", AGAIN)
            return
        self.findings.append(Finding(check, "repaired", f"{what}: {done}"))

    @contextmanager
    def part(self, check: str) -> Iterator[None]:
        """A check that stops at an error of ours, which is then what it found."""
        try:
            yield
        except (MediaflowError, OSError) as error:
            self.problem(check, str(error), AGAIN)


def count(number: int, what: str, many: str | None = None) -> str:
    """A number of things in words: 1 file, 2 files."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"
