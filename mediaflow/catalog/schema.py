"""The tables, as migrations in order: a catalog at version n has run the first n of them.

Paths are BLOBs because file names are bytes and need not be text. Times are Unix seconds.
"""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE assets (
        id INTEGER PRIMARY KEY,
        hash TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL CHECK (kind IN ('image', 'video', 'audio')),
        bytes INTEGER NOT NULL,
        media TEXT NOT NULL,
        added REAL NOT NULL,
        -- What its rendition takes on disk and since when; 0 when there is none.
        rendition_bytes INTEGER NOT NULL DEFAULT 0,
        rendition_made REAL
    );
    CREATE INDEX assets_rendition ON assets (rendition_made, rendition_bytes) WHERE rendition_bytes > 0;

    -- A path at which an asset was, or will be, found. `asset` is null until prepared.
    CREATE TABLE locations (
        id INTEGER PRIMARY KEY,
        library TEXT NOT NULL,
        folder BLOB NOT NULL,
        name BLOB NOT NULL,
        words TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        asset INTEGER REFERENCES assets (id),
        state TEXT NOT NULL CHECK (state IN ('queued', 'done', 'failed')),
        reason TEXT,
        permanent INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        job TEXT,
        run INTEGER,
        changed REAL NOT NULL,
        gone REAL,
        UNIQUE (library, folder, name)
    );
    CREATE INDEX locations_asset ON locations (asset);
    CREATE INDEX locations_run ON locations (run);
    CREATE INDEX locations_state ON locations (state) WHERE state != 'done';

    -- The ledger: what is wanted of an asset, and what became of it. `skipped` says that the
    -- task does not apply, as speech to a photo.
    CREATE TABLE work (
        asset INTEGER NOT NULL REFERENCES assets (id) ON DELETE CASCADE,
        task TEXT NOT NULL,
        model TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('wanted', 'done', 'failed', 'skipped')),
        reason TEXT,
        permanent INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        job TEXT,
        changed REAL NOT NULL,
        PRIMARY KEY (asset, task, model)
    ) WITHOUT ROWID;
    CREATE INDEX work_changed ON work (changed);
    CREATE INDEX work_open ON work (state) WHERE state IN ('wanted', 'failed');

    CREATE TABLE findings (
        asset INTEGER NOT NULL REFERENCES assets (id) ON DELETE CASCADE,
        task TEXT NOT NULL,
        model TEXT NOT NULL,
        data TEXT NOT NULL,
        seconds REAL NOT NULL,
        created REAL NOT NULL,
        PRIMARY KEY (asset, task, model)
    );

    -- Text that was read or heard, in pieces that a search can answer with.
    CREATE TABLE passages (
        id INTEGER PRIMARY KEY,
        asset INTEGER NOT NULL REFERENCES assets (id) ON DELETE CASCADE,
        source TEXT NOT NULL CHECK (source IN ('ocr', 'speech')),
        ordinal INTEGER NOT NULL,
        text TEXT NOT NULL,
        page INTEGER,
        start REAL,
        end REAL,
        UNIQUE (asset, source, ordinal)
    );
    CREATE VIRTUAL TABLE passages_words USING fts5 (
        text, content = 'passages', content_rowid = 'id',
        tokenize = 'unicode61 remove_diacritics 2', prefix = '3 4'
    );
    CREATE TRIGGER passages_added AFTER INSERT ON passages BEGIN
        INSERT INTO passages_words (rowid, text) VALUES (new.id, new.text);
    END;
    CREATE TRIGGER passages_removed AFTER DELETE ON passages BEGIN
        INSERT INTO passages_words (passages_words, rowid, text) VALUES ('delete', old.id, old.text);
    END;

    -- Names of files and of the folders they are in, for search by words.
    CREATE VIRTUAL TABLE names_words USING fts5 (
        words, content = 'locations', content_rowid = 'id',
        tokenize = 'unicode61 remove_diacritics 2', prefix = '3 4'
    );
    CREATE TRIGGER names_added AFTER INSERT ON locations BEGIN
        INSERT INTO names_words (rowid, words) VALUES (new.id, new.words);
    END;
    CREATE TRIGGER names_removed AFTER DELETE ON locations BEGIN
        INSERT INTO names_words (names_words, rowid, words) VALUES ('delete', old.id, old.words);
    END;

    CREATE TABLE spaces (
        name TEXT PRIMARY KEY,
        dimension INTEGER NOT NULL
    );
    -- AUTOINCREMENT: an id is never used again, so "newer than the snapshot" is "a larger id".
    CREATE TABLE vectors (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        asset INTEGER NOT NULL REFERENCES assets (id) ON DELETE CASCADE,
        space TEXT NOT NULL REFERENCES spaces (name),
        source TEXT NOT NULL CHECK (source IN ('picture', 'ocr', 'speech')),
        ordinal INTEGER NOT NULL,
        page INTEGER,
        time REAL,
        value BLOB NOT NULL
    );
    CREATE INDEX vectors_asset ON vectors (asset);
    CREATE INDEX vectors_space ON vectors (space, id);

    CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        library TEXT NOT NULL,
        roots TEXT NOT NULL,
        tasks TEXT NOT NULL,
        started REAL NOT NULL,
        ended REAL,
        files INTEGER NOT NULL DEFAULT 0,
        new INTEGER NOT NULL DEFAULT 0,
        known INTEGER NOT NULL DEFAULT 0,
        gone INTEGER NOT NULL DEFAULT 0,
        skipped TEXT NOT NULL DEFAULT '{}',
        pid INTEGER NOT NULL
    );
    """,
    """
    -- Which catalog this is: an index made of another one must not be taken for an index of this.
    CREATE TABLE identity (catalog TEXT NOT NULL);
    INSERT INTO identity (catalog) VALUES (lower(hex(randomblob(16))));
    """,
    """
    -- When what failed is tried again by itself; null when it is given up.
    ALTER TABLE work ADD COLUMN due REAL;
    ALTER TABLE locations ADD COLUMN due REAL;
    UPDATE work SET due = 0 WHERE state = 'failed' AND NOT permanent AND attempts < 3;
    UPDATE locations SET due = 0 WHERE state = 'failed' AND NOT permanent AND attempts < 3;
    -- How many bytes of the path are the root that was submitted: below it no link is followed.
    -- All of them where the file itself was; 0 where that is not known; then the folder is the root.
    ALTER TABLE locations ADD COLUMN root INTEGER NOT NULL DEFAULT 0;
    """,
    """
    -- Which box did it; null: this machine. What a box has found and is wanted again is to be checked here.
    ALTER TABLE work ADD COLUMN box TEXT;
    ALTER TABLE vectors ADD COLUMN box TEXT;
    CREATE INDEX work_box ON work (box) WHERE box IS NOT NULL;
    CREATE INDEX vectors_box ON vectors (box) WHERE box IS NOT NULL;
    -- What came of the samples of what a box found. `failed`: this machine could not do it itself.
    CREATE TABLE checks (
        box TEXT NOT NULL,
        task TEXT NOT NULL,
        chosen INTEGER NOT NULL DEFAULT 0,
        agreed INTEGER NOT NULL DEFAULT 0,
        differed INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (box, task)
    ) WITHOUT ROWID;
    -- Boxes whose findings are not true. `told`: the ledger of the fleet knows.
    CREATE TABLE distrusted (
        box TEXT PRIMARY KEY,
        reason TEXT NOT NULL,
        since REAL NOT NULL,
        told INTEGER NOT NULL DEFAULT 0
    );
    """,
    """
    -- A failure that a person has dismissed: neither listed nor counted, and not tried again by itself.
    ALTER TABLE work ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE locations ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0;
    """,
)
