-- Every key there is, in blocks that servers lease; how far they are filled and how far leased.
-- 64^5 keys in blocks of 256 are 4,194,304 blocks, with ids from 0.

CREATE TABLE key_block (
    id   integer PRIMARY KEY CHECK (id BETWEEN 0 AND 4194303),
    -- 256 keys of five letters, in the permuted order; never changed once written.
    keys text COLLATE "C" NOT NULL CHECK (octet_length(keys) = 1280)
);

-- What the order of all keys is made from: with another one, later blocks would repeat earlier keys.
CREATE TABLE key_order (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    seed   bytea NOT NULL CHECK (octet_length(seed) = 32)
);

-- Blocks with ids below `next` are leased or skipped; blocks with ids below `seeded` are filled.
-- After a fence `next` may be above `seeded`: blocks that are filled later and never leased.
CREATE TABLE key_cursor (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    next   integer NOT NULL CHECK (next BETWEEN 0 AND 4194304),
    seeded integer NOT NULL CHECK (seeded BETWEEN 0 AND 4194304)
);
INSERT INTO key_cursor (next, seeded) VALUES (0, 0);

-- One row for each lease; its primary key makes sure that no block is handed out twice.
CREATE TABLE key_lease (
    id integer PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);
