"""How well speech is recognised: word error rate per language, and what is invented where nobody speaks."""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mediaflow.models.store import model_folder

Finding = Mapping[str, Any]
_EN = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_EN += " seventeen eighteen nineteen"
_EN_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_DE = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn"
)
_DE += " siebzehn achtzehn neunzehn"
_DE_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
}
_ORDINALS["twelve"] = "twelfth"


def score(finding_by_path: Mapping[str, Finding], manifest: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Word error rate and error counts per language, and the invented words.

    `finding_by_path` maps a file's path to its transcribe finding; files it lacks count as silent.
    Spoken digits (tag `short`) are a group of their own, as one wrong word there is a whole file.
    """
    groups: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    invented: dict[str, str] = {}
    for entry in manifest:
        truth, path = entry["truth"], entry["path"]
        if "transcript" not in truth:
            continue
        said = str(finding_by_path.get(path, {}).get("text", ""))
        if not truth["transcript"]:
            if words(said):
                invented[path] = said
            continue
        group = f"{truth['lang']} digits" if "short" in entry.get("tags", ()) else truth["lang"]
        errors, length = word_errors(truth["transcript"], said, truth["lang"])
        for at, count in enumerate((errors, length, 1)):
            groups[group][at] += count
    rates = {
        name: {"wer": errors / length, "errors": errors, "words": length, "files": files}
        for name, (errors, length, files) in sorted(groups.items())
    }
    return {"languages": rates, "invented": invented}


def word_errors(reference: str, hypothesis: str, language: str) -> tuple[int, int]:
    """Substitutions, insertions and deletions, and the reference's words; numbers as they may be said."""
    wanted = [words(spoken(reference, language, years)) for years in (False, True)]
    heard = [words(spoken(hypothesis, language, years)) for years in (False, True)]
    return min(
        ((distance(one, other), len(one)) for one in wanted for other in heard), key=lambda pair: pair[0]
    )


def words(text: str) -> list[str]:
    """NFKC, lower case, no punctuation."""
    text = unicodedata.normalize("NFKC", text).lower()
    return re.sub(r"[^\w\s]|_", " ", re.sub(r"(?<=\w)['’](?=\w)", "", text)).split()


def spoken(text: str, language: str, years: bool) -> str:
    """Numerals as words (English and German up to 999,999), four digits as a year is said if `years`."""
    if language not in ("en", "de"):
        return text
    number = _english if language == "en" else _german

    def say(match: re.Match[str]) -> str:
        value = int(match[1].replace(",", ""))
        if years and 1100 <= value <= 1999 and value % 100:
            said = f"{number(value // 100)} {number(value % 100)}"
        else:
            said = number(value) if value < 1_000_000 else match[1]
        return _ordinal(said) if match[2] else said

    return re.sub(r"\b(\d{1,3}(?:,\d{3})+|\d+)(st|nd|rd|th)?\b", say, text)


def distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein distance of two lists of words."""
    row = list(range(len(other) + 1))
    for at, word in enumerate(one, 1):
        before, row[0] = row[0], at
        for index, counter in enumerate(other, 1):
            before, row[index] = (
                row[index],
                min(row[index] + 1, row[index - 1] + 1, before + (word != counter)),
            )
    return row[-1]


def _english(value: int) -> str:
    if value < 20:
        return _EN.split()[value]
    if value < 100:
        return _EN_TENS[value // 10 - 2] + (f" {_english(value % 10)}" if value % 10 else "")
    size, name = (1000, "thousand") if value >= 1000 else (100, "hundred")
    rest = value % size
    return f"{_english(value // size)} {name}" + (f" {_english(rest)}" if rest else "")


def _german(value: int) -> str:
    if value < 20:
        return _DE.split()[value]
    if value < 100:
        unit = _german(value % 10).removesuffix("s") if value % 10 == 1 else _german(value % 10)
        return (f"{unit}und" if value % 10 else "") + _DE_TENS[value // 10 - 2]
    size, name = (1000, "tausend") if value >= 1000 else (100, "hundert")
    rest = value % size
    return _german(value // size).removesuffix("s") + name + (_german(rest) if rest else "")


def _ordinal(said: str) -> str:
    head, _, last = said.rpartition(" ")
    last = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return f"{head} {last}".strip()


def bare(paths: Iterable[Path], folder: Path, threads: int) -> tuple[dict[Path, Finding], float]:
    """What faster-whisper makes of the files as it comes, and the seconds it took."""
    from faster_whisper import WhisperModel

    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
    findings = {}
    start = time.perf_counter()
    for path in paths:
        segments, info = model.transcribe(str(path))
        findings[path] = {
            "text": " ".join(segment.text.strip() for segment in segments),
            "language": info.language,
        }
    return findings, time.perf_counter() - start


def ours(paths: Sequence[Path], folder: Path) -> tuple[dict[Path, Finding], float]:
    """What the task makes of the files' renditions (put into `folder`), and the seconds the task took."""
    from jobs.transcribe import Transcribe
    from mediaflow.media.prepare import make_rendition
    from mediaflow.settings import load_settings

    settings = load_settings()
    renditions = [make_rendition(str(path), folder / str(at), settings) for at, path in enumerate(paths)]
    task = Transcribe(settings)
    task.load()
    start = time.perf_counter()
    findings = []
    for at in range(0, len(renditions), task.together):
        findings += task.analyse(renditions[at : at + task.together])
    wall = time.perf_counter() - start
    return {path: finding.data for path, finding in zip(paths, findings, strict=True)}, wall


def main() -> None:
    """Print both, ours beside the bare library, on the same files."""
    parser = argparse.ArgumentParser(description=__doc__)
    media = os.environ.get("MEDIAFLOW_TEST_MEDIA", Path(__file__).resolve().parents[2] / "../shared/media")
    parser.add_argument("media", nargs="?", type=Path, default=Path(media), help="folder with manifest.jsonl")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root = options.media.resolve()
    manifest = [
        json.loads(line) for line in (root / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    manifest = [entry for entry in manifest if _is_heard(entry)]
    paths = [root / entry["path"] for entry in manifest]
    seconds = 0.0
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (findings, wall) in {
            "bare faster-whisper": bare(paths, model_folder("whisper-base"), options.threads),
            "mediaflow": ours(paths, Path(folder)),
        }.items():
            by_path = {entry["path"]: findings[path] for entry, path in zip(manifest, paths, strict=True)}
            results[name] = score(by_path, manifest) | {"wall_seconds": round(wall, 1)}
        seconds = sum(
            json.loads(file.read_text())["media"]["seconds"] for file in Path(folder).glob("*/manifest.json")
        )
    if options.json:
        print(json.dumps({"seconds_of_sound": round(seconds, 1), **results}, ensure_ascii=False))
        return
    for name, result in results.items():
        print(f"{name}: {result['wall_seconds']} s for {seconds:.0f} s of sound")
        for language, rate in result["languages"].items():
            print(f"  {language:10} WER {rate['wer']:6.1%}  ({rate['errors']} of {rate['words']} words)")
        invented = list(result["invented"].values())
        print(f"  invented where nobody speaks: {len(invented)} files {invented}")


def _is_heard(entry: Mapping[str, Any]) -> bool:
    """Whether the manifest says what is spoken in a file, be it nothing."""
    return "transcript" in entry["truth"] and entry["truth"].get("has_audio", True)


if __name__ == "__main__":
    main()
