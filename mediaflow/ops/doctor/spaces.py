"""Spaces: whether their vectors are whole and of one size, and a search can load their models."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from mediaflow.catalog.database import transaction
from mediaflow.errors import MediaflowError
from mediaflow.index.vectors import VALUE_BYTES
from mediaflow.models import encoders
from mediaflow.models.identity import embed_text_model, task_model
from mediaflow.models.store import installed
from mediaflow.ops.doctor.report import AGAIN, Examination, count
from mediaflow.settings import Settings

PIECE = 20_000
BUILT_IN = ("e5", "minilm", "conse", "clip")


def examine(visit: Examination, db: sqlite3.Connection) -> None:
    """Check every vector of every space, and the models of the spaces that a search uses."""
    spaces, empty = [], 0
    with visit.part("spaces"):
        spaces = [row[0] for row in db.execute("SELECT name FROM spaces ORDER BY name")]
        for space in spaces:
            _check_dimension(visit, db, space)
            if bad := _bad(db, space):
                what = f"{space}: {count(len(bad), 'vector')} of a wrong size, or with invalid values"
                visit.mend(
                    "spaces", what, "removed, and wanted again", partial(_remove, visit, db, space, bad)
                )
        if visit.settings is not None:
            _check_models(visit, db, visit.settings)
        empty = sum(not _vectors(db, space) for space in spaces)
    without = f", {empty} of them without vectors" if empty else ""
    visit.ok("spaces", f"{count(len(spaces), 'space')}{without}, all vectors whole")


def _vectors(db: sqlite3.Connection, space: str) -> int:
    return int(db.execute("SELECT COUNT(*) FROM vectors WHERE space = ?", (space,)).fetchone()[0])


def _dimension(db: sqlite3.Connection, space: str) -> int:
    return int(db.execute("SELECT dimension FROM spaces WHERE name = ?", (space,)).fetchone()[0])


def _check_dimension(visit: Examination, db: sqlite3.Connection, space: str) -> None:
    """Check the dimension: that of the model, or, where it is not known, that of all vectors of the space."""
    said, right = _dimension(db, space), encoders.known_dimension(space)
    sizes = [
        row[0] for row in db.execute("SELECT DISTINCT length(value) FROM vectors WHERE space = ?", (space,))
    ]
    if right is None and len(sizes) == 1 and sizes[0] and sizes[0] % VALUE_BYTES == 0:
        right = sizes[0] // VALUE_BYTES

    def repair() -> None:
        with transaction(db):
            db.execute("UPDATE spaces SET dimension = ? WHERE name = ?", (right, space))

    if right not in (None, said):
        what = f"{space}: its vectors have {right} values, not {said} as the catalog says"
        visit.mend("spaces", what, "corrected", repair)


def _bad(db: sqlite3.Connection, space: str) -> list[int]:
    """The ids of vectors of another size than the space's, or with values that are not finite."""
    size = VALUE_BYTES * _dimension(db, space)
    bad: list[int] = []
    rows = db.execute("SELECT id, value FROM vectors WHERE space = ?", (space,))
    while piece := rows.fetchmany(PIECE):
        whole = [row for row in piece if isinstance(row[1], bytes) and len(row[1]) == size]
        bad += {row[0] for row in piece} - {row[0] for row in whole}
        values = np.frombuffer(b"".join(row[1] for row in whole), dtype="<f2").reshape(len(whole), -1)
        bad += [
            row[0] for row, finite in zip(whole, np.isfinite(values).all(axis=1), strict=True) if not finite
        ]
    return bad


def _remove(visit: Examination, db: sqlite3.Connection, space: str, ids: Iterable[int]) -> None:
    with transaction(db):
        for id in ids:
            row = db.execute("SELECT asset, source FROM vectors WHERE id = ?", (id,)).fetchone()
            db.execute("DELETE FROM vectors WHERE id = ?", (id,))
            if row and visit.settings is not None and space in _searched(visit.settings):
                picture = row["source"] == "picture"
                model = task_model("embed") if picture else embed_text_model(row["source"])
                if picture:  # else the ledger would take the finding for done
                    db.execute(
                        "DELETE FROM findings WHERE asset = ? AND task = 'embed' AND model = ?",
                        (row["asset"], model),
                    )
                # A job that is in no queue is lost, which the next check of the queue finds.
                db.execute(
                    "UPDATE work SET state = 'wanted', job = 'none', box = NULL"
                    " WHERE asset = ? AND task = 'embed' AND model = ? AND state = 'done'",
                    (row["asset"], model),
                )


def _searched(settings: Settings) -> set[str]:
    """The spaces that a search uses."""
    return {
        encoders.text_space(settings),
        encoders.image_space(settings),
        encoders.visual_space(settings),
    }


def _check_models(visit: Examination, db: sqlite3.Connection, settings: Settings) -> None:
    """Without its model, a space with vectors is left out of every search by words."""
    names = {
        encoders.text_space(settings): settings.spaces.text,
        encoders.image_space(settings): settings.spaces.image,
    }
    used = {space: name for space, name in names.items() if _vectors(db, space)}
    missing = [model for model in encoders.encoder_models(settings) if used and not installed(model)]
    if missing:
        what = f"not searched by meaning: {count(len(missing), 'model')} missing on this machine"
        visit.problem("search", what, f"mediaflow models pull {' '.join(missing)}")
    for space, name in used.items():
        if name not in BUILT_IN and not _needs_no_extra(name):
            what = f"{space} is not searched: its model needs the extra `torch`, which is not installed"
            visit.problem("search", what, "scripts/setup --torch")
        elif visit.models and not missing:
            _load(visit, db, space, settings)
    visit.ok("search", "the models of all spaces with vectors are there")


def _needs_no_extra(name: str) -> bool:
    folder = Path(name.removeprefix("file:"))
    return (folder / "text_model.onnx").exists() or importlib.util.find_spec(
        "sentence_transformers"
    ) is not None


def _load(visit: Examination, db: sqlite3.Connection, space: str, settings: Settings) -> None:
    """Whether the model of a space loads, and makes vectors of the size that the space has."""
    try:
        if space == encoders.text_space(settings):
            size = encoders.text_encoder(settings).dimension
        else:
            size = encoders.image_encoder(settings, queries_only=True).dimension
    except MediaflowError as error:
        visit.problem("search", f"{space} is not searched: {error}", AGAIN)
        return
    if size != _dimension(db, space):
        visit.problem(
            "search",
            f"{space} is not searched: its vectors have {_dimension(db, space)} values,"
            f" its model makes {size}",
            "Name the model that they were made with in mediaflow.yaml, or give the new one another name"
            " and run: mediaflow submit FOLDER --tasks embed",
        )
