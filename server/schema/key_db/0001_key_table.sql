-- The key table: every possible key, in blocks that servers lease, and when each block was leased.
-- 64^5 keys in blocks of 256 are 4,194,304 blocks, with ids from 0.

CREATE TABLE key_block (
    id   integer PRIMARY KEY CHECK (id BETWEEN 0 AND 4194303),
    -- 256 keys of five letters, in the permuted order; never changed once written.
    keys text COLLATE "C" NOT NULL CHECK (octet_length(keys) = 1280)
);

-- The order of all keys is computed from this seed. With another seed, later blocks would repeat earlier keys.
CREATE TABLE key_order (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    seed   bytea NOT NULL CHECK (octet_length(seed) = 32)
);

-- Three positions in the key table.
CREATE TABLE key_cursor (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    -- The first block that was never leased. After a fence it may lie beyond `seeded`.
    next   integer NOT NULL CHECK (next BETWEEN 0 AND 4194304),
    -- The block to lease again first, once every block was leased.
    again  integer NOT NULL DEFAULT 0 CHECK (again BETWEEN 0 AND 4194303),
    -- The first block that is not filled.
    seeded integer NOT NULL CHECK (seeded BETWEEN 0 AND 4194304)
);
INSERT INTO key_cursor (next, seeded) VALUES (0, 0);

-- When each block was last leased. A block without a row was never leased.
CREATE TABLE key_lease (
    id     integer PRIMARY KEY,
    -- Skipped by a fence after a restore: whether a server leased the block is unknown.
    fenced boolean NOT NULL DEFAULT false,
    at     timestamptz NOT NULL DEFAULT now()
) WITH (
    -- Leasing a block again updates its row within the page, which needs some room there.
    fillfactor = 90
);

-- How long a block rests between two leases: the longest lifetime of a note, and 30 days.
-- server/keys.py has the same figure.
CREATE FUNCTION key_rest() RETURNS interval
    LANGUAGE sql IMMUTABLE
    RETURN interval '60 days';

-- Leases up to `blocks` blocks, at most 16, and returns their keys (NULL if the block is missing from
-- key_block). Returns no row if there is nothing to lease: each block was leased and still rests.
--
-- First come the blocks that were never leased, then all blocks again in the same order, each only after its
-- rest. Lessees queue for the row lock on key_cursor. The second statement begins when the lock is held, so it
-- sees what the previous lessee did and what was filled meanwhile; it is one statement, because the others wait
-- for it. The log and the cursor's move are committed together. A sequence instead of a cursor would be faster
-- but wrong: after a crash it may return a value twice.
--
-- The role of the web servers may call this function, but not write to the tables: it cannot move the cursor
-- anywhere else.
CREATE FUNCTION lease_blocks(blocks integer) RETURNS TABLE (id integer, keys text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    position  record;
    is_first  boolean;  -- whether the blocks are leased for the first time
    start     integer;
    till      integer;  -- not included
    leased_at timestamptz;
BEGIN
    SELECT next, again, seeded INTO STRICT position FROM public.key_cursor FOR UPDATE;
    is_first := position.next < position.seeded;
    start := CASE WHEN is_first THEN position.next ELSE position.again END;
    till := least(start + least(blocks, 16), position.seeded);
    leased_at := clock_timestamp();  -- now() could lie in the past: it is when the transaction began

    RETURN QUERY
    WITH rested AS MATERIALIZED (
        -- Stop before the first block that still rests.
        SELECT coalesce(min(lease.id), till) AS stop
        FROM public.key_lease AS lease
        WHERE lease.id >= start AND lease.id < till AND lease.at > leased_at - public.key_rest()
    ), leased AS MATERIALIZED (
        SELECT generate_series(start, stop - 1) AS id
        FROM rested
    ), logged AS (
        INSERT INTO public.key_lease (id, at)
        SELECT leased.id, leased_at
        FROM leased
        ON CONFLICT (id) DO UPDATE SET fenced = false, at = excluded.at
    ), moved AS (
        UPDATE public.key_cursor
        SET next = CASE WHEN is_first THEN stop ELSE next END,
            again = CASE WHEN is_first THEN again ELSE mod(stop, seeded) END
        FROM rested
        WHERE stop > start
    )
    -- Not a join, which might read the whole table.
    SELECT leased.id, (SELECT block.keys FROM public.key_block AS block WHERE block.id = leased.id)
    FROM leased;
END
$$;
REVOKE EXECUTE ON FUNCTION lease_blocks FROM PUBLIC;
