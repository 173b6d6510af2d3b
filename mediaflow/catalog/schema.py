"""The tables, as migrations in order: a catalog at version n has run the first n of them.

Paths are BLOBs because file names are bytes and need not be text. Times are Unix seconds.
"""

from mediaflow.catalog import searchable

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
    -- A location may be skipped: it is no medium. SQLite changes a CHECK only with the whole table,
    -- whose triggers the next migration replaces.
    DROP TRIGGER names_added;
    DROP TRIGGER names_removed;
    CREATE TABLE locations_new (
        id INTEGER PRIMARY KEY,
        library TEXT NOT NULL,
        folder BLOB NOT NULL,
        name BLOB NOT NULL,
        words TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        asset INTEGER REFERENCES assets (id),
        state TEXT NOT NULL CHECK (state IN ('queued', 'done', 'failed', 'skipped')),
        reason TEXT,
        permanent INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        job TEXT,
        run INTEGER,
        changed REAL NOT NULL,
        gone REAL,
        due REAL,
        root INTEGER NOT NULL DEFAULT 0,
        UNIQUE (library, folder, name)
    );
    INSERT INTO locations_new
        SELECT id, library, folder, name, words, size, mtime_ns, asset, state, reason, permanent,
            attempts, job, run, changed, gone, due, root FROM locations;
    DROP TABLE locations;
    ALTER TABLE locations_new RENAME TO locations;
    CREATE INDEX locations_asset ON locations (asset);
    CREATE INDEX locations_run ON locations (run);
    CREATE INDEX locations_state ON locations (state) WHERE state != 'done';
    UPDATE locations SET state = 'skipped', due = NULL, permanent = 0
     WHERE state = 'failed' AND permanent AND NOT claims_medium(name)
       AND (reason LIKE 'not a media file%' OR reason = 'the file is empty');
    """,
    """
    -- Full text over tokens made by mediaflow/text.py, joined with spaces. The tables keep the tokens
    -- themselves, so that rows can be removed, and the catalog written, without the code that makes them.
    DROP TRIGGER passages_added;
    DROP TRIGGER passages_removed;
    DROP TABLE passages_words;
    DROP TABLE names_words;
    CREATE VIRTUAL TABLE passages_words USING fts5 (words, tokenize = "ascii tokenchars '$+<=>|~'");
    CREATE VIRTUAL TABLE names_words USING fts5 (words, tokenize = "ascii tokenchars '$+<=>|~'");
    -- Rows that are not in the full text yet; mediaflow/catalog/fulltext.py enters them.
    CREATE TABLE passages_unindexed (id INTEGER PRIMARY KEY);
    CREATE TABLE names_unindexed (id INTEGER PRIMARY KEY);
    INSERT INTO passages_unindexed SELECT id FROM passages;
    INSERT INTO names_unindexed SELECT id FROM locations;
    CREATE TRIGGER passages_added AFTER INSERT ON passages BEGIN
        INSERT INTO passages_unindexed (id) VALUES (new.id);
    END;
    CREATE TRIGGER passages_removed AFTER DELETE ON passages BEGIN
        DELETE FROM passages_words WHERE rowid = old.id;
        DELETE FROM passages_unindexed WHERE id = old.id;
    END;
    CREATE TRIGGER names_added AFTER INSERT ON locations BEGIN
        INSERT INTO names_unindexed (id) VALUES (new.id);
    END;
    CREATE TRIGGER names_removed AFTER DELETE ON locations BEGIN
        DELETE FROM names_words WHERE rowid = old.id;
        DELETE FROM names_unindexed WHERE id = old.id;
    END;
    """,
    searchable.MIGRATION,
    """
    -- A failure that a person has dismissed: neither listed nor counted, and not tried again by itself.
    ALTER TABLE work ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE locations ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0;
    """,
)
