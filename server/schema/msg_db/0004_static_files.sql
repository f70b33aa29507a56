-- Programs from version 3 on work with this schema.

-- Scripts, styles and texts of the pages of the last releases (server/releases.py): while a new version is rolled
-- out, a server can be asked for those of another version.
CREATE TABLE static_file (
    path        text NOT NULL,
    -- As in the URL: the first 64 bits of the content's SHA-256.
    fingerprint text NOT NULL CHECK (fingerprint = left(encode(sha256(content), 'hex'), 16)),
    media_type  text NOT NULL,
    content     bytea NOT NULL,
    -- The number of the newest release that has the file, counted in the order in which releases were published.
    release     integer NOT NULL,
    PRIMARY KEY (path, fingerprint)
);
