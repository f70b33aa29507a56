-- Sealed messages until they are revealed or expire, and receipts of what was revealed.

CREATE TABLE note (
    key            char(5) COLLATE "C" PRIMARY KEY CHECK (key ~ '^[A-Za-z0-9_-]{5}$'),
    -- SHA-256 of the proof: all that the database knows of the token.
    verifier       bytea NOT NULL CHECK (octet_length(verifier) = 32),
    -- Version, nonce, padded message, tag: 29 + 256 n bytes.
    sealed         bytea NOT NULL CHECK (octet_length(sealed) > 29 AND (octet_length(sealed) - 29) % 256 = 0),
    has_passphrase boolean NOT NULL,
    expires_at     timestamptz NOT NULL
) WITH (
    -- Keeps a note of a few kB in its row: one page to write, one to delete.
    toast_tuple_target = 8160,
    -- Every row is deleted within its lifetime: clean up early and often.
    autovacuum_vacuum_scale_factor = 0.05
);

-- Sealed bytes do not compress; trying costs time.
ALTER TABLE note ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- For the purge.
CREATE INDEX note_expires_at ON note (expires_at);

-- One row for each group of reveals that deleted something, in the same transaction: if the answer
-- to COMMIT is lost, it tells whether the deletion happened. Lives ten minutes.
CREATE TABLE receipt (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);
