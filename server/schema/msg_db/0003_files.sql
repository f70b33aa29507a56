-- Files of notes: sealed chunks, under the id of their upload until the note and its delivery are gone.

-- Files whose note is not put yet. When it is, the row is deleted and the note has its id.
CREATE TABLE upload (
    -- SHA-256 of the writer's nonce.
    id         bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    -- Of all files together, padded and not yet sealed.
    file_bytes bigint NOT NULL CHECK (file_bytes > 0),
    at         timestamptz NOT NULL DEFAULT now()
);

-- For the purge.
CREATE INDEX upload_at ON upload (at);

CREATE TABLE chunk (
    files  bytea NOT NULL,
    number integer NOT NULL CHECK (number >= 0),
    -- Up to 64 KiB of the files, and a tag.
    sealed bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 17 AND 65552),
    PRIMARY KEY (files, number)
) WITH (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
-- Sealed bytes do not compress; trying costs time.
ALTER TABLE chunk ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- The upload's id; NULL for a note without files. Chunks are deleted with the note by the same statement, or
-- belong to the delivery after a reveal.
ALTER TABLE note
    ADD COLUMN files bytea CHECK (octet_length(files) = 32),
    ADD COLUMN file_bytes bigint CHECK ((file_bytes IS NULL) = (files IS NULL));
ALTER TABLE delivery ADD COLUMN files bytea;

-- An upload becomes one note, even if the request that puts it is repeated.
CREATE UNIQUE INDEX note_files ON note (files) WHERE files IS NOT NULL;
-- No upload begins with the id of files that a delivery has.
CREATE INDEX delivery_files ON delivery (files) WHERE files IS NOT NULL;
-- For the purge.
CREATE INDEX delivery_files_at ON delivery (at) WHERE files IS NOT NULL;
