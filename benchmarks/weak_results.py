"""Where weak results end: the share of right files that a score hides, and the noise that it leaves.

    python -m benchmarks.weak_results [--half dev|test] [SCORE…]      by default: test 0.1 0.3

Asks the questions of MEDIAFLOW_TEST_MEDIA, and questions that none of its files answers, of the catalog in
MEDIAFLOW_HOME, which must hold all of the media (`mediaflow submit --wait`). A score is chosen on one half of
the questions and reported on the other. Of each question the first ten results count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
MEDIA = Path(os.environ.get("MEDIAFLOW_TEST_MEDIA", PROJECT.parent / "shared" / "media")).absolute()
UNANSWERABLE = Path(__file__).with_name("unanswerable_questions.txt")
Answers = list[dict[str, Any]]


def ask(questions: list[str]) -> list[Answers]:
    """The first ten results of each question."""
    done = subprocess.run(
        [sys.executable, "-m", "mediaflow", "search", "-"],
        input="".join(f"{' '.join(question.split())}\n" for question in questions),
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=True,
    )
    return [json.loads(line)["results"] for line in done.stdout.splitlines()]


def half(things: list[Any], which: str) -> list[Any]:
    """One half, the same in each run."""
    return things[which == "test" :: 2]


def report(score: float, asked: list[tuple[dict[str, Any], Answers]], noise: list[Answers]) -> str:
    """The figures of one score, in words."""
    right = hidden = wrong = 0
    for question, results in asked:
        answers, others = (
            {str(MEDIA / path) for path in question[key]} for key in ("relevant", "also_relevant")
        )
        found = [result["score"] for result in results if result["path"] in answers]
        right += len(found)
        hidden += sum(each < score for each in found)
        wrong += sum(result["score"] >= score for result in results if result["path"] not in answers | others)
    shown = [sum(result["score"] >= score for result in results) for results in noise]
    return (
        f"{score:g}: hides {hidden} of {right} right files; shows {wrong / len(asked):.1f} wrong a question;"
        f" {sum(map(bool, shown))} of {len(noise)} unanswerable questions show {sum(shown)} files"
    )


def main() -> None:
    """Ask, and print a line for each score."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scores", nargs="*", type=float, default=[0.1, 0.3])
    parser.add_argument("--half", choices=["dev", "test"], default="test")
    given = parser.parse_args()
    questions = [json.loads(line) for line in (MEDIA / "queries.jsonl").read_text().splitlines()]
    lines = UNANSWERABLE.read_text().splitlines()
    unanswerable = half([line for line in lines if not line.startswith("#")], given.half)
    random.Random(1).shuffle(questions)  # those on one picture stand together
    questions = half(questions, given.half)
    results = ask([question["query"] for question in questions] + unanswerable)
    asked = list(zip(questions, results[: len(questions)], strict=True))
    for score in given.scores:
        print(report(score, asked, results[len(questions) :]))


if __name__ == "__main__":
    main()
