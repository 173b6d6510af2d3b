"""The table `searchable`: the columns that searches filter by, one narrow row for each location not gone.

A search has hundreds of thousands of candidates; with this table a filter costs one lookup in one index.
Triggers keep the table equal to the view `searchable_now`, whichever function writes the other tables;
`mediaflow doctor` compares the two.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

# The column is not called `asset`, so that a condition over a column `asset` of the outer statement can
# look into this table.
_TABLE = """
    -- When it was taken, in Unix seconds; null where that is not known.
    ALTER TABLE assets ADD COLUMN taken REAL;
    UPDATE assets SET taken = taken_seconds(json_extract(media, '$.taken')) WHERE json_valid(media);

    CREATE TABLE searchable (
        location INTEGER PRIMARY KEY,
        asset_id INTEGER NOT NULL,
        library TEXT NOT NULL,
        kind TEXT NOT NULL,
        safe INTEGER NOT NULL,
        moment REAL NOT NULL
    );
    -- A file is safe when all verdicts say so, or when it has no pictures.
    CREATE VIEW searchable_now AS
        SELECT l.id AS location, l.asset AS asset_id, l.library AS library, a.kind AS kind,
               (EXISTS (SELECT 1 FROM findings f WHERE f.asset = a.id AND f.task = 'nsfw'
                         AND json_valid(f.data) AND json_extract(f.data, '$.verdict') = 'safe')
                OR EXISTS (SELECT 1 FROM work w WHERE w.asset = a.id AND w.task = 'nsfw'
                            AND w.state = 'skipped'))
               AND NOT EXISTS (SELECT 1 FROM findings f WHERE f.asset = a.id AND f.task = 'nsfw'
                                AND (NOT json_valid(f.data)
                                     OR COALESCE(json_extract(f.data, '$.verdict'), '') != 'safe')) AS safe,
               COALESCE(a.taken, l.mtime_ns / 1e9) AS moment
          FROM locations l JOIN assets a ON a.id = l.asset
         WHERE l.gone IS NULL;
    INSERT INTO searchable SELECT * FROM searchable_now;
    CREATE INDEX searchable_asset ON searchable (asset_id, library, kind, safe, moment);
    CREATE INDEX searchable_filter ON searchable (library, kind, safe, moment, asset_id);

    CREATE TRIGGER searchable_added AFTER INSERT ON locations BEGIN
        INSERT INTO searchable SELECT * FROM searchable_now WHERE location = new.id;
    END;
    CREATE TRIGGER searchable_changed AFTER UPDATE OF library, asset, mtime_ns, gone ON locations BEGIN
        DELETE FROM searchable WHERE location = old.id;
        INSERT INTO searchable SELECT * FROM searchable_now WHERE location = new.id;
    END;
    CREATE TRIGGER searchable_removed AFTER DELETE ON locations BEGIN
        DELETE FROM searchable WHERE location = old.id;
    END;
    CREATE TRIGGER searchable_described AFTER UPDATE OF kind, taken ON assets BEGIN
        DELETE FROM searchable WHERE asset_id = new.id;
        INSERT INTO searchable SELECT * FROM searchable_now WHERE asset_id = new.id;
    END;
"""
_JUDGED = """
    CREATE TRIGGER searchable_{table}_{event} AFTER {event} ON {table} WHEN {row}.task = 'nsfw' BEGIN
        DELETE FROM searchable WHERE asset_id = {row}.asset;
        INSERT INTO searchable SELECT * FROM searchable_now WHERE asset_id = {row}.asset;
    END;
"""
MIGRATION = _TABLE + "".join(
    _JUDGED.format(table=table, event=event, row=row)
    for table in ("findings", "work")
    for event, row in (("INSERT", "new"), ("UPDATE", "new"), ("DELETE", "old"))
)


def taken_seconds(taken: object) -> float | None:
    """The time of ISO 8601 text in Unix seconds; None where the text is no date, as cameras sometimes write.

    Without an offset it is taken as a time of this machine's zone.
    """
    if not isinstance(taken, str):
        return None
    try:
        return datetime.fromisoformat(taken).timestamp()
    except (ValueError, OverflowError, OSError):  # years that the system's clock does not know
        return None


def differences(db: sqlite3.Connection) -> int:
    """The number of rows of `searchable` that are missing, wrong or superfluous."""
    now, then = "SELECT * FROM searchable_now", "SELECT * FROM searchable"
    row = db.execute(
        "SELECT COUNT(DISTINCT location) FROM"
        f" (SELECT location FROM ({now} EXCEPT {then}) UNION ALL SELECT location FROM ({then} EXCEPT {now}))"
    ).fetchone()
    return int(row[0])


def refill(db: sqlite3.Connection) -> None:
    """Rebuild `searchable` from the tables that it is derived from."""
    db.execute("DELETE FROM searchable")
    db.execute("INSERT INTO searchable SELECT * FROM searchable_now")
