"""The list of licences in docs/licences.md: packages by their metadata, models by configs/models.yaml."""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
# The locks whose packages run on a person's machine; the tools of the tests are not given to anyone.
LOCKS = ("requirements", "requirements-fleet")
# Never installed on Linux: they are locked for other systems.
ELSEWHERE = {"colorama", "httpx2-jsfetch", "async-timeout", "backports-strenum"}
INTRODUCTION = """# Licences of what mediaflow uses

Written by `scripts/licences` from the metadata of the locked packages and from `configs/models.yaml`.
mediaflow itself has no licence yet: its owner has not chosen one.
"""


def locked(name: str) -> dict[str, str]:
    """The versions of a lock, by package."""
    text = (ROOT / "configs" / f"{name}.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))


def licence_of(package: str) -> str:
    """The licence of an installed package in a line, "?" where its metadata says none."""
    metadata = importlib.metadata.metadata(package)
    if expression := (metadata.get_all("License-Expression") or [""])[0]:
        return str(expression)
    classifiers = [
        entry.split(" :: ")[-1]
        for entry in metadata.get_all("Classifier") or []
        if entry.startswith("License :: ") and not entry.endswith("OSI Approved")
    ]
    text = str((metadata.get_all("License") or [""])[0]).strip()
    # Some packages put the whole text of the licence there.
    if text and len(text) < 60 and "\n" not in text:
        return text
    return ", ".join(classifiers) or "?"


def page() -> str:
    """The page as it should be; raises PackageNotFoundError for a package that is not installed."""
    from mediaflow.models.registry import load_registry

    packages = {package: version for name in LOCKS for package, version in locked(name).items()}
    rows = (
        (package, version, licence_of(package))
        for package, version in sorted(packages.items())
        if package not in ELSEWHERE
    )
    models = (
        (model.name, model.licence, model.origin)
        for model in load_registry(ROOT / "configs" / "models.yaml").values()
    )
    parts = [
        INTRODUCTION,
        "## Packages\n" + table(("package", "version", "licence"), rows),
        "## Models\n" + table(("model", "licence", "origin"), models),
    ]
    return "\n".join(parts)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def stale() -> list[str]:
    """What is locked or listed as a model, and missing on the page in that version; looks at no metadata."""
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    wanted = [
        f"| {package} | {version} |"
        for name in LOCKS
        for package, version in locked(name).items()
        if package not in ELSEWHERE
    ]
    models = re.findall(
        r"^  ([a-z0-9][a-z0-9.-]*):$", (ROOT / "configs" / "models.yaml").read_text(), re.MULTILINE
    )
    return [entry for entry in [*wanted, *(f"| {model} |" for model in models)] if entry not in written]


def main() -> None:
    """Write the page, or with --check say what it lacks."""
    parser = argparse.ArgumentParser(prog="scripts/licences")
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        if missing := stale():
            sys.exit(f"docs/licences.md is not current, run scripts/licences: {', '.join(missing[:5])}")
        return
    try:
        PAGE.write_text(page(), encoding="utf-8")
    except importlib.metadata.PackageNotFoundError as error:
        sys.exit(f"{error.name} is not installed: scripts/setup --fleet")


if __name__ == "__main__":
    main()
