/* The files of a note, for spin: every order of events, for one note with two chunks. `make model` checks it.

   Modelled: a writer who begins an upload, puts the chunks in any order and then the note, repeats what is not
   answered, or cancels; two readers with the link and a nonce each, who reveal, fetch the chunks in any order and
   acknowledge; a sender who destroys the note; the locks of the upload's and of the note's row, transactions and
   the standby; the purges. An early copy of a repeated request may arrive after anything else, even after the
   note has been read. FAULTS times in a run something fails, at any step: a request, a COMMIT or its answer is
   lost or late, the standby was not waited for, a server or the database is killed, the standby takes over. Time
   is not counted: an hour may pass at any moment.
   A step is one statement, or the part of a transaction up to its COMMIT. A statement that waits for a lock and
   then uses what it saw before has a step for each; the code has none that matter, and mutants have.
   Not modelled: what reveal.pml has (groups, tries, endings, the delivery of the text), keys, and content.

   `guard(NAME)` and the promises are as in reveal.pml. */

#define CHUNKS_LOCK 1         /* chunks are stored under a lock of the upload's row, which ending it waits for */
#define END_FIRST 2           /* an upload is ended by an earlier statement than the one that deletes its chunks */
#define PURGE_UPLOADS 3       /* an upload is purged after an hour, with its chunks */
#define UPLOAD_OR_NOTE 4      /* no upload begins with the id of files that a note or a delivery has */
#define LATER_CHECK 5         /* that is checked by a later statement than the one that waited */
#define COMPLETE 6            /* a note is put only if all chunks are there */
#define PUT_LOCK 7            /* the put locks the upload's row, so that nothing ends it meanwhile */
#define UPLOAD_GOES 8         /* the statement that puts the note deletes the upload */
#define FIND_NOTE 9           /* a put that finds no upload looks for its note */
#define LATER_FIND 10         /* by a later statement than the one that waited */
#define PUT_STANDBY 11        /* a put that the standby was not waited for does not count as done */
#define FIND_WRITES 12        /* to find a note takes a COMMIT of its own, which covers all before it */
#define HANDED_OVER 13        /* the transaction that deletes the note hands its chunks to the delivery */
#define NEEDS_NONCE 14        /* a reader without a nonce does not take a note with files */
#define FETCH_NONCE 15        /* chunks are fetched by the nonce of the reader who took the note */
#define FETCH_HOUR 16         /* for an hour */
#define KEPT_AN_HOUR 17       /* the purge of texts leaves a delivery with files alone */
#define TEXT_RECEIVED 18      /* an acknowledgement of the text leaves the chunks */
#define RECEIVED_REMOVES 19   /* an acknowledgement of the files removes them */
#define RECEIVED_NONCE 20     /* of the delivery of its own nonce only */
#define PURGE_DELIVERIES 21   /* the purge removes a delivery after an hour, with its chunks */
#define TWO_CLOCKS 22         /* the hour is counted by two clocks, since one may jump */
#define DESTROYED_CHUNKS 23   /* the statement that destroys a note deletes its chunks */
#define EXPIRED_CHUNKS 24     /* so does the one that purges it */

c_decl {
    \#include <stdlib.h>
    static int setting(const char *name) { const char *text = getenv(name); return text ? atoi(text) : 0; }
}
hidden byte without; /* the guard that is taken out, or 0 */
#define guard(name) (without != name)

#define ABSENT 0

/* An upload. */
#define OPEN 1
#define ENDED 2 /* takes no chunk and no note any more */

/* A delivery. */
#define FRESH 1
#define LATE 2 /* an hour has passed */
#define EMPTY 3 /* a mutant's: the chunks are not handed over yet */

typedef Rows {
    byte upload;
    bit chunk[2];
    bit note;
    byte delivery[2] /* of each reader's nonce */
}
Rows db, standby;

#define behind \
    (standby.upload != db.upload || standby.note != db.note || \
     standby.chunk[0] != db.chunk[0] || standby.chunk[1] != db.chunk[1] || \
     standby.delivery[0] != db.delivery[0] || standby.delivery[1] != db.delivery[1])
#define complete (db.chunk[0] && db.chunk[1])

inline copy(to, from)
{
    to.upload = from.upload;
    to.chunk[0] = from.chunk[0];
    to.chunk[1] = from.chunk[1];
    to.note = from.note;
    to.delivery[0] = from.delivery[0];
    to.delivery[1] = from.delivery[1]
}

/* The writer, and its requests that have not arrived. */
#define BEGINNING 0
#define SENDING 1
#define PUTTING 2
#define TOLD 3 /* of its note: from now on others have the link */
#define AWAY 4 /* refused, or cancelled */
byte writer;
bit stored[2]; /* chunks of which the writer has heard that they are stored */

#define BEGIN 0
#define CHUNK(i) (1 + i)
#define NOTE 3
#define CANCEL 4
byte sent[5];

/* Open transactions. Those that store chunks share the lock of the upload's row; the put has it alone. */
bit storing[2];
bit putting;
bit put_awaited; /* its server still waits for it */
byte taking;     /* 1 + the reader whose reveal has the lock of the note's row */
#define upload_locked ((guard(CHUNKS_LOCK) && (storing[0] || storing[1])) || (guard(PUT_LOCK) && putting))

/* Statements of mutants, which go by what they saw before they waited for a lock. */
bit late_begin, late_put, deleting, seen[2];

/* Where a reader is. */
#define REVEALING 0 /* its request is on the way, the first one or a repeated one */
#define WAITING 1   /* for COMMIT */
#define HAS_TEXT 2
#define DONE 3 /* has everything, and has acknowledged */
#define GONE 4
byte reader[2];
typedef Fetched {
    bit chunk[2]
}
Fetched fetched[2];

byte faults; /* that may still happen */

/* The promises, and what nobody but the model knows. */
byte owed;  /* 1 + the reader who took the note, has not acknowledged, and has an hour */
byte shown; /* 1 + the reader who was shown a chunk */

bit shown_to_two_readers, lost_while_the_reader_stays, note_lacks_a_chunk, chunks_left_behind,
    shown_after_the_end, writer_misled, note_lost, somebody_waits_for_ever;

inline broken(promise)
{
    promise = true;
    assert(!promise)
}

inline replicate()
{
    copy(standby, db)
}

/* COMMIT happens, and is answered, though the standby may not have it: a repeated request that finds its work
   done writes nothing and does not wait. */
inline committed()
{
    if
    :: replicate()
    :: faults > 0 && behind ->
        faults--;
        printf("the standby does not have it\n")
    fi
}

hidden byte heard;

/* The writer hears the answer, or sends again, or has stopped waiting. */
inline answer(kind, waits)
{
    heard = waits;
    if
    :: !heard
    :: heard
    :: heard && faults > 0 ->
        send_again(kind, waits);
        heard = 0
    fi
}

inline send_again(kind, waits)
{
    faults--;
    if
    :: waits ->
        printf("the writer sends request %d again (0 begin, 1 and 2 chunks, 3 note)\n", kind);
        sent[kind]++
    :: else
    fi
}

#define begin_waits (writer == BEGINNING)
#define chunk_waits(i) (writer == SENDING && !stored[i])
#define note_waits (writer == PUTTING)

inline no_such_upload()
{
    printf("the writer is told that there is no such upload\n");
    if
    :: writer == PUTTING && db.note -> broken(writer_misled)
    :: else
    fi;
    writer = AWAY
}

inline told()
{
    printf("the writer is told of its note\n");
    writer = TOLD
}

inline delete_chunks()
{
    db.chunk[0] = 0;
    db.chunk[1] = 0
}

inline begun()
{
    answer(BEGIN, begin_waits);
    if
    :: heard && db.upload == OPEN ->
        writer = SENDING;
        sent[CHUNK(0)]++;
        sent[CHUNK(1)]++
    :: heard && db.upload != OPEN -> no_such_upload()
    :: else
    fi
}

inline missing(i)
{
    if
    :: !db.chunk[i] ->
        stored[i] = 0;
        sent[CHUNK(i)]++
    :: else
    fi
}

proctype Writer()
{
end:
    do
    /* It waits no longer and sends again, and both requests arrive. */
    :: atomic {
        faults > 0 && begin_waits && sent[BEGIN] == 1 ->
        send_again(BEGIN, true)
       }
    :: atomic {
        faults > 0 && chunk_waits(0) && sent[CHUNK(0)] == 1 ->
        send_again(CHUNK(0), true)
       }
    :: atomic {
        faults > 0 && note_waits && sent[NOTE] == 1 ->
        send_again(NOTE, true)
       }
    :: atomic {
        writer == SENDING && stored[0] && stored[1] ->
        writer = PUTTING;
        sent[NOTE]++
       }
    :: atomic {
        writer == SENDING || writer == PUTTING ->
        printf("the writer cancels\n");
        writer = AWAY;
        sent[CANCEL]++
       }
    od
}

inline look_for_upload(i)
{
    atomic {
        sent[CHUNK(i)] > 0 && !storing[i] && !(putting && guard(PUT_LOCK)) ->
        sent[CHUNK(i)]--;
        if
        :: db.upload == OPEN -> storing[i] = 1
        :: else ->
            answer(CHUNK(i), chunk_waits(i));
            if :: heard -> no_such_upload() :: else fi
        fi
    }
}

inline store(i)
{
    atomic {
        storing[i] ->
        storing[i] = 0;
        if
        :: printf("chunk %d is stored\n", i);
            db.chunk[i] = 1;
            committed();
            answer(CHUNK(i), chunk_waits(i));
            if :: heard -> stored[i] = 1 :: else fi
        :: faults > 0 -> send_again(CHUNK(i), chunk_waits(i))
        fi
    }
}

proctype Upload()
{
end:
    do
    /* Begin: the row of the same id makes it wait for a put that deletes it. */
    :: atomic {
        sent[BEGIN] > 0 && !putting ->
        sent[BEGIN]--;
        if
        :: db.upload == ABSENT && !(guard(UPLOAD_OR_NOTE) && (db.note || db.delivery[0] || db.delivery[1])) ->
            printf("an upload begins\n");
            db.upload = OPEN;
            committed()
        :: else
        fi;
        begun()
       }
    :: atomic {
        sent[BEGIN] > 0 && putting && !late_begin && !guard(LATER_CHECK) ->
        sent[BEGIN]--;
        late_begin = 1
       }
    :: atomic {
        late_begin && !putting ->
        late_begin = 0;
        if
        :: db.upload == ABSENT ->
            printf("an upload begins\n");
            db.upload = OPEN;
            committed()
        :: else
        fi;
        begun()
       }

    /* A chunk. */
    :: look_for_upload(0)
    :: look_for_upload(1)
    :: store(0)
    :: store(1)

    /* The note: the put, or the look-up of an earlier one. */
    :: atomic {
        sent[NOTE] > 0 && !upload_locked && !putting ->
        sent[NOTE]--;
        if
        :: db.upload == OPEN && (complete || !guard(COMPLETE)) ->
            putting = 1;
            put_awaited = 1
        :: db.upload != OPEN && guard(FIND_NOTE) && db.note ->
            printf("the note of an earlier put is found\n");
            if
            :: guard(FIND_WRITES) -> replicate()
            :: !guard(FIND_WRITES)
            fi;
            answer(NOTE, note_waits);
            if :: heard -> told() :: else fi
        :: else ->
            answer(NOTE, note_waits);
            if
            :: heard && db.upload == OPEN ->
                printf("the writer is told that a chunk is missing\n");
                writer = SENDING;
                missing(0);
                missing(1)
            :: heard && db.upload != OPEN -> no_such_upload()
            :: else
            fi
        fi
       }
    :: atomic {
        sent[NOTE] > 0 && putting && !late_put && !guard(LATER_FIND) ->
        sent[NOTE]--;
        late_put = 1
       }
    :: atomic {
        late_put && !putting ->
        late_put = 0;
        answer(NOTE, note_waits);
        if
        :: heard && db.upload == OPEN -> sent[NOTE]++
        :: heard && db.upload != OPEN -> no_such_upload()
        :: else
        fi
       }
    :: atomic {
        putting ->
        printf("the note is put\n");
        putting = 0;
        db.note = 1;
        if
        :: guard(UPLOAD_GOES) -> db.upload = ABSENT
        :: else
        fi;
        if
        :: put_awaited ->
            if
            :: replicate();
                answer(NOTE, note_waits);
                if :: heard -> told() :: else fi
            :: faults > 0 && guard(PUT_STANDBY) -> /* a warning, or no answer: the standby may not have it */
                send_again(NOTE, note_waits)
            :: faults > 0 && !guard(PUT_STANDBY) ->
                faults--;
                if :: note_waits -> told() :: else fi
            fi
        :: else ->
            if
            :: replicate()
            :: true
            fi
        fi;
        put_awaited = 0
       }
    :: atomic {
        putting && put_awaited && faults > 0 ->
        printf("the put's connection to the database is cut\n");
        put_awaited = 0;
        send_again(NOTE, note_waits)
       }
    :: atomic {
        putting && !put_awaited ->
        printf("the put is rolled back\n");
        putting = 0
       }

    /* The upload ends: it is cancelled, or an hour has passed. A purge skips a row that is locked. */
    :: atomic {
        (sent[CANCEL] > 0 || (db.upload == OPEN && guard(PURGE_UPLOADS))) && guard(END_FIRST) && !upload_locked ->
        printf("the upload is ended\n");
        sent[CANCEL] = 0;
        if
        :: db.upload == OPEN ->
            db.upload = ENDED;
            committed()
        :: else
        fi
       }
    :: atomic {
        db.upload == ENDED ->
        printf("the upload is deleted\n");
        db.upload = ABSENT;
        delete_chunks();
        committed()
       }
    :: atomic {
        db.upload == OPEN && !guard(END_FIRST) && !deleting ->
        sent[CANCEL] = 0;
        deleting = 1;
        seen[0] = db.chunk[0];
        seen[1] = db.chunk[1]
       }
    :: atomic {
        deleting && !upload_locked ->
        deleting = 0;
        if
        :: db.upload == OPEN ->
            printf("the upload is deleted\n");
            db.upload = ABSENT;
            db.chunk[0] = (db.chunk[0] && !seen[0]);
            db.chunk[1] = (db.chunk[1] && !seen[1]);
            committed()
        :: else
        fi
       }
    od
}

#define fetchable(r) \
    (db.delivery[r] == FRESH || (db.delivery[r] == LATE && !guard(FETCH_HOUR)) || \
     (db.delivery[1 - r] == FRESH && !guard(FETCH_NONCE)))

inline show_to(r, i)
{
    printf("reader %d is shown chunk %d\n", r, i);
    if
    :: shown == 2 - r -> broken(shown_to_two_readers)
    :: else -> shown = r + 1
    fi;
    if
    :: db.delivery[r] == LATE || reader[r] == DONE -> broken(shown_after_the_end)
    :: else
    fi
}

inline told_that_it_is_gone(r)
{
    printf("reader %d is told that the note or its files are gone\n", r);
    if
    :: owed == r + 1 -> broken(lost_while_the_reader_stays)
    :: else
    fi;
    reader[r] = GONE
}

inline fetch(r, i)
{
    if
    :: fetchable(r) && db.chunk[i] ->
        show_to(r, i);
        if
        :: fetched[r].chunk[i] = 1
        :: faults > 0 -> faults-- /* the answer is lost */
        fi
    :: else -> told_that_it_is_gone(r)
    fi
}

proctype Reader(byte r)
{
end:
    do
    :: atomic {
        writer == TOLD && reader[r] == REVEALING && !taking ->
        if
        :: db.note ->
            taking = r + 1;
            reader[r] = WAITING
        :: !db.note && db.delivery[r] == FRESH ->
            replicate();
            reader[r] = HAS_TEXT
        :: else -> told_that_it_is_gone(r)
        fi
       }
    :: atomic {
        taking == r + 1 ->
        printf("reader %d takes the note\n", r);
        taking = 0;
        db.note = 0;
        db.delivery[r] = (guard(HANDED_OVER) -> FRESH : EMPTY);
        owed = r + 1;
        if
        :: replicate();
            if
            :: reader[r] == WAITING -> reader[r] = HAS_TEXT
            :: else
            fi
        :: reader[r] == WAITING && faults > 0 -> /* a warning, or no answer */
            faults--;
            reader[r] = REVEALING
        :: reader[r] != WAITING
        fi
       }
    :: atomic {
        db.delivery[r] == EMPTY ->
        db.delivery[r] = FRESH
       }
    /* Its connection, or the server's to the database. */
    :: atomic {
        taking == r + 1 && reader[r] == WAITING && faults > 0 ->
        printf("the connection of reader %d is cut\n", r);
        faults--;
        reader[r] = REVEALING
       }
    :: atomic {
        taking == r + 1 && reader[r] != WAITING ->
        printf("the reveal is rolled back\n");
        taking = 0
       }

    :: atomic {
        reader[r] == HAS_TEXT && !fetched[r].chunk[0] ->
        fetch(r, 0)
       }
    :: atomic {
        reader[r] == HAS_TEXT && !fetched[r].chunk[1] ->
        fetch(r, 1)
       }
    /* Whoever was refused, or has acknowledged, tries all the same; or an early copy of a fetch arrives now. */
    :: atomic {
        (reader[r] == GONE || reader[r] == DONE) && fetchable(r) && db.chunk[0] && shown ->
        show_to(r, 0)
       }

    /* The acknowledgement, repeated until it is answered. */
    :: atomic {
        reader[r] == HAS_TEXT && fetched[r].chunk[0] && fetched[r].chunk[1] ->
        if
        :: owed == r + 1 -> owed = 0
        :: else
        fi;
        if
        :: guard(RECEIVED_REMOVES) && db.delivery[r] -> delete_chunks()
        :: else
        fi;
        if
        :: replicate();
            printf("reader %d acknowledges\n", r);
            reader[r] = DONE
        :: faults > 0 -> faults--
        fi
       }
    od
}

inline late(r)
{
    printf("an hour has passed for reader %d\n", r);
    db.delivery[r] = LATE;
    if
    :: standby.delivery[r] == FRESH -> standby.delivery[r] = LATE
    :: else
    fi;
    if
    :: owed == r + 1 -> owed = 0
    :: else
    fi
}

inline stop(r)
{
    if
    :: reader[r] == WAITING -> reader[r] = REVEALING
    :: else
    fi
}

inline lose_chunk(i)
{
    if
    :: storing[i] && chunk_waits(i) -> sent[CHUNK(i)]++
    :: else
    fi;
    storing[i] = 0
}

proctype World()
{
end:
    do
    :: atomic {
        behind -> replicate()
       }

    /* The database is killed, and comes back as it was, or the standby takes over. */
    :: atomic {
        faults > 0 && (storing[0] || storing[1] || putting || taking || behind) ->
        printf("the database is killed\n");
        faults--;
        if
        :: putting && put_awaited && note_waits -> sent[NOTE]++
        :: else
        fi;
        lose_chunk(0);
        lose_chunk(1);
        putting = 0;
        put_awaited = 0;
        taking = 0;
        stop(0);
        stop(1);
        if
        :: true
        :: behind ->
            printf("the standby takes over\n");
            if
            :: standby.note && !db.note -> owed = 0
            :: writer == TOLD && db.note && !standby.note -> broken(note_lost)
            :: else
            fi;
            copy(db, standby)
        fi
       }

    /* The note is destroyed, or it expires and is purged. */
    :: atomic {
        writer == TOLD && db.note && !taking ->
        printf("the note is destroyed\n");
        db.note = 0;
        if
        :: guard(DESTROYED_CHUNKS) -> delete_chunks()
        :: else
        fi;
        committed()
       }
    :: atomic {
        db.note && !taking ->
        printf("the note has expired and is purged\n");
        db.note = 0;
        if
        :: guard(EXPIRED_CHUNKS) -> delete_chunks()
        :: else
        fi;
        committed()
       }

    /* An hour passes after a reveal, and the purge. */
    :: atomic {
        db.delivery[0] == FRESH -> late(0)
       }
    :: atomic {
        db.delivery[1] == FRESH -> late(1)
       }
    :: atomic {
        (db.delivery[0] == LATE || db.delivery[1] == LATE) && guard(PURGE_DELIVERIES) ->
        printf("deliveries are purged\n");
        db.delivery[0] = (db.delivery[0] == LATE -> ABSENT : db.delivery[0]);
        db.delivery[1] = (db.delivery[1] == LATE -> ABSENT : db.delivery[1]);
        delete_chunks();
        committed()
       }

    /* What guards keep out: a client without a nonce, the purge of texts, an acknowledgement of the text or with
       a nonce of somebody's own, a clock that jumps. */
    :: atomic {
        db.note && !taking && !guard(NEEDS_NONCE) ->
        db.note = 0
       }
    :: atomic {
        !guard(KEPT_AN_HOUR) && (db.delivery[0] == FRESH || db.delivery[1] == FRESH) ->
        db.delivery[0] = ABSENT;
        db.delivery[1] = ABSENT
       }
    :: atomic {
        complete && (db.delivery[0] == FRESH || db.delivery[1] == FRESH) &&
            (!guard(TEXT_RECEIVED) || !guard(RECEIVED_NONCE) || !guard(TWO_CLOCKS)) ->
        delete_chunks()
       }

    :: atomic {
        db.note && !complete -> broken(note_lacks_a_chunk)
       }

    /* Nothing else can happen any more. */
    :: atomic {
        timeout ->
        if
        :: db.upload || db.chunk[0] || db.chunk[1] || db.note || db.delivery[0] || db.delivery[1] ->
            broken(chunks_left_behind)
        :: writer < TOLD || (writer == TOLD && (reader[0] < DONE || reader[1] < DONE)) ->
            broken(somebody_waits_for_ever)
        :: else
        fi;
        break
       }
    od
}

init
{
    atomic {
        c_code {
            without = setting("WITHOUT");
            now.faults = setting("FAULTS");
        };
        sent[BEGIN] = 1;
        run Writer();
        run Upload();
        run Reader(0);
        run Reader(1);
        run World()
    }
}
