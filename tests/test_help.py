"""Help, completion, wrong words and the look of answers: what a person sees in the first hour."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from mediaflow.cli.results import print_results
from mediaflow.configuration import read_settings
from mediaflow.errors import ConfigError
from mediaflow.search.request import Match, Result
from mediaflow.settings import NOT_SETTINGS, PREFIX, Settings, configs
from scripts.cli_reference import COLUMNS, PAGE, reference
from tests.known import build, run, said


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("known") / "home")


def test_the_page_of_commands_is_true() -> None:
    assert PAGE.read_text() == reference(), "run: .venv/bin/python scripts/cli_reference.py"


def test_all_help_fits_80_columns() -> None:
    for line in reference().splitlines():
        assert len(line.removeprefix("    ")) <= COLUMNS or "scripts/" in line, line


def result(score: float, where: str = "image", **match: object) -> Result:
    return Result("/pile/x.png", "image", score, "a" * 64, [Match(where, score, **match)])  # type: ignore[arg-type]


def test_weak_results_are_marked_and_noise_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    results = [result(0.7), result(0.3), result(0.29), result(0.1), result(0.09), result(0.0)]
    assert print_results(results, "x") == 4
    assert capsys.readouterr().out.splitlines() == [
        "0.70\t/pile/x.png\tpicture",
        "0.30\t/pile/x.png\tpicture",
        "0.29\t/pile/x.png\tpicture (weak match)",
        "0.10\t/pile/x.png\tpicture (weak match)",
    ]


def test_a_result_says_where_it_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    print_results([result(0.9, "ocr", text="Die Rechnung", page=2)], "Rechnung")
    print_results([result(0.9, "speech", text="die Rechnung", start=61.0)], "Rechnung")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("text, page 2: Die [Rechnung]")
    assert lines[1].endswith("speech at 1:01: die [Rechnung]")


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("MEDIAFLOW_HOEM", "Did you mean MEDIAFLOW_HOME?"),
        ("MEDIAFLOW_REDIS_URI", "Did you mean MEDIAFLOW_REDIS_URL?"),
        ("MEDIAFLOW_MODLES", "Did you mean MEDIAFLOW_MODELS?"),
        ("MEDIAFLOW_TASK__OCR__WORKERS", "no setting 'task'"),
        ("MEDIAFLOW_TASKS__OCR__WORKER", "no setting 'tasks.ocr.worker'"),
        ("MEDIAFLOW_DEVISE", "Did you mean MEDIAFLOW_DEVICE?"),
    ],
)
def test_a_misspelt_variable_is_named_and_not_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, words: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigError) as caught:
        read_settings(
            (configs() / "mediaflow.yaml", tmp_path / "none.yaml"), Settings, PREFIX, skip=NOT_SETTINGS
        )
    assert str(caught.value).startswith(f"variable {variable}: ")
    assert words in str(caught.value)
    assert ".." not in str(caught.value)


@pytest.mark.slow
def test_the_version_is_that_of_the_package(known: Path) -> None:
    assert run(known, "--version").stdout.decode() == f"mediaflow {version('mediaflow')}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serch", "x"], "Did you mean 'search'?"),
        (["models", "pul"], "Did you mean 'pull'?"),
        (["search", "x", "--limt", "3"], "--limit"),
        (["list", "--kind", "movie"], "video"),
        (["search", "x", "--until", "soon"], "'soon' is not a date. Write 2024, 2024-05 or 2024-05-31."),
        (["search", "x", "--since", "2025", "--until", "2024"], "no file can be between"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(known: Path, arguments: list[str], words: str) -> None:
    done = run(known, *arguments)
    assert done.returncode == 2
    assert words in said(done)


@pytest.mark.slow
def test_words_need_no_quotes(known: Path) -> None:
    apart, together = (
        run(known, "search", *words, "--in", "name", "--json") for words in (["talk", "mp3"], ["talk mp3"])
    )
    assert apart.stdout == together.stdout
    assert json.loads(apart.stdout)[0]["path"] == "/pile/talk.mp3"
    assert run(known, "search", "--in", "name", "--", "-5", "degrees").returncode == 0


@pytest.mark.slow
def test_a_search_ends_with_the_day_that_until_names(known: Path) -> None:
    found = {
        day: [
            hit["path"] for hit in json.loads(run(known, "search", "taken", "--until", day, "--json").stdout)
        ]
        for day in ("2024-12-30", "2024-12-31", "2024", "2023")
    }
    assert found == {
        "2024-12-30": [],
        "2024-12-31": ["/pile/taken.jpg"],
        "2024": ["/pile/taken.jpg"],
        "2023": [],
    }


@pytest.mark.slow
def test_bash_completes_commands_and_options(known: Path, tmp_path: Path) -> None:
    """The script that the command prints, in a real bash."""
    program = tmp_path / "mediaflow"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mediaflow "$@"\n')
    program.chmod(0o755)
    script = run(
        known, "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    ).stdout.decode()
    assert "complete " in script
    for words, completed in ((["mediaflow", "sear"], "search"), (["mediaflow", "models", "ver"], "verify")):
        asked = script + (
            f"\nCOMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
            '_mediaflow_completion mediaflow\necho "${COMPREPLY[@]}"'
        )
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(Path(__file__).parents[1])}
        answered = subprocess.run(
            [str(shutil.which("bash")), "-c", asked],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert answered.stdout.split() == [completed], answered.stderr


@pytest.mark.slow
def test_an_outside_queue_that_does_not_answer_is_status_3_and_the_catalog_is_shown(known: Path) -> None:
    done = run(known, "status", MEDIAFLOW_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 3
    assert b"does not answer" in done.stdout
    assert "(MEDIAFLOW_REDIS_URL) does not answer: only the catalog is shown" in said(done)
    assert b"/pile" in done.stdout
    state = run(known, "status", "--json", MEDIAFLOW_REDIS_URL="redis://127.0.0.1:1/0")
    assert state.returncode == 3
    assert json.loads(state.stdout)["runs"]
    assert run(known, "status").returncode == 0, "an embedded queue that is not running is at rest"


@pytest.mark.slow
def test_a_long_path_stays_on_one_line_in_a_pipe(tmp_path: Path) -> None:
    from contextlib import closing

    from mediaflow.catalog import runs
    from mediaflow.catalog.database import connect

    folder = "/" + "/".join(["a long folder"] * 20)
    home = build(tmp_path / "known")
    with closing(connect(home / "catalog.sqlite")) as db:
        runs.begin(db, "default", [folder.encode()], ["ocr"])
    for command in ("runs", "status"):
        assert folder in run(home, command).stdout.decode()


@pytest.mark.slow
def test_a_model_says_nothing_about_itself(capfd: pytest.CaptureFixture[str]) -> None:
    from mediaflow.models.encoders.people import People
    from mediaflow.settings import load_settings

    People(load_settings())
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_reason_that_is_a_sentence_gets_no_second_full_stop(known: Path) -> None:
    done = run(known, "dashboard", MEDIAFLOW_REDIS_URL="redis://127.0.0.1:1/0")
    assert "Connection refused. Start it" in said(done)


@pytest.mark.slow
def test_an_answer_of_weak_matches_alone_is_told(known: Path) -> None:
    """Two of three words are in a name: that is worth 0.2, and one of five next to nothing."""
    done = run(known, "search", "talk", "mp3", "zebra", "--in", "name")
    assert done.stdout.decode().splitlines()[0].endswith("(weak match)")
    assert "Only weak matches were found" in said(done)
    strong = run(known, "search", "talk", "mp3", "--in", "name")
    assert b"weak" not in strong.stdout.splitlines()[0]
    assert "Only weak matches" not in said(strong)
    hidden = run(known, "search", "talk", "zebra", "yacht", "koala", "horse", "--in", "name")
    assert hidden.stdout == b""
    assert said(hidden) == (
        "Nothing found in library 'default'.\n1 weaker match is not shown; --json has all.\n"
    )
