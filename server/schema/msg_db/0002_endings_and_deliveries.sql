-- Protocol 2: a client proves a link without its passphrase, a note's row counts tries, and an ending follows.
-- Notes in the first format can no longer be opened.
TRUNCATE note;

ALTER TABLE note RENAME COLUMN verifier TO reveal_verifier;
ALTER TABLE note
    -- SHA-256 of the link proof, which takes no passphrase.
    ADD COLUMN link_verifier bytea NOT NULL CHECK (octet_length(link_verifier) = 32),
    -- Wrong passphrases from clients that proved the link, and when the next one may be tried after ten.
    ADD COLUMN tries integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
    ADD COLUMN next_try_at timestamptz;

CREATE TYPE how_it_ended AS ENUM ('read', 'destroyed', 'expired');

-- What is left of a note for seven days, for clients that prove its link: no content, no address.
-- `how` has a type because PostgreSQL parses a CHECK again for each statement that inserts.
CREATE TABLE ending (
    key           char(5) COLLATE "C" NOT NULL,
    link_verifier bytea NOT NULL CHECK (octet_length(link_verifier) = 32),
    how           how_it_ended NOT NULL,
    at            timestamptz NOT NULL DEFAULT now(),
    -- Computed by the reader's browser from the seal key: the server cannot make it up.
    mark          bytea CHECK (octet_length(mark) = 32),
    PRIMARY KEY (key, link_verifier)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- For the purge.
CREATE INDEX ending_at ON ending (at);

-- Sealed bytes that were revealed to a reader and not yet acknowledged, for 60 seconds. A row without a key
-- is the receipt of a group of reveals: if the answer to its COMMIT is lost, it tells whether that took
-- effect. Rows live ten minutes.
CREATE TABLE delivery (
    -- SHA-256 of the key and the reader's nonce, or 16 random bytes for a receipt.
    id            bytea PRIMARY KEY CHECK (octet_length(id) IN (16, 32)),
    key           char(5) COLLATE "C",
    link_verifier bytea,
    sealed        bytea,
    at            timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE delivery ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- For the purge.
CREATE INDEX delivery_at ON delivery (at);

DROP TABLE receipt;
