/* The protocol of a reveal, for spin: every order of events, for one note. `make model` checks it.

   Modelled: one note; two readers with the link and the passphrase, who send again after a lost answer; a
   guesser who has the link and guesses the passphrase, or guesses the link too; a sender who may destroy the
   note; two server processes that handle requests in groups; PostgreSQL's row locks, transactions and standby;
   the purge; the passing of time. FAULTS times in a run something fails, at any step: a statement, a COMMIT or
   its answer is lost, an answer to a reader is lost, a server or the database is killed, the standby takes
   over, a reader leaves. Time is not counted: what a clock decides (the note expires, 60 seconds or seven days
   pass, the next try is due) happens at any moment. So the model holds at every speed and for every timeout.
   Not modelled: cryptography, bytes and HTTP, a second note, keys, deadlocks, and how long anything takes.
   The model cannot see the code: that the code does what this page says is for the fault suite to test.

   `guard(NAME)` stands for a guard of the code. With WITHOUT set to its number the model is without it, and spin
   finds a run that breaks a promise. A promise is a bit, set where it is broken. */

#define ROW_LOCK 1            /* the statement locks the row of the note before it decides */
#define EXPIRY_UNDER_LOCK 2   /* it locks an expired row as well, and looks at the expiry afterwards */
#define LATER_LOOKUP 3        /* a delivery is looked up by a later statement than the one that waited for the lock */
#define COMMIT_FIRST 4        /* a message is shown after COMMIT was answered */
#define LOST_IS_UNKNOWN 5     /* a COMMIT without an answer does not count as done */
#define WARNING_IS_UNKNOWN 6  /* nor does one that did not wait for the standby */
#define DELIVERY 7            /* a reveal that finds no note looks for its delivery */
#define SAME_TRANSACTION 8    /* the transaction that deletes the note writes the delivery */
#define OWN_COMMIT 9          /* to show a delivery takes a COMMIT of its own, which covers all before it */
#define OWN_NONCE 10          /* a delivery is for the nonce of the reader who took the note */
#define LEAVERS 11            /* a reader who left before COMMIT was sent takes nothing */
#define RECEIVED_NONCE 12     /* an acknowledgement removes the delivery of its own nonce only */
#define RECEIVED_REMOVES 13   /* an acknowledgement removes the sealed bytes */
#define SIXTY_SECONDS 14      /* a delivery is shown for 60 seconds */
#define PURGE_DELIVERIES 15   /* the purge removes it afterwards */
#define TWO_CLOCKS 16         /* both by two clocks, since one may jump */
#define ENDING_WITH_READ 17   /* the transaction that deletes the note writes the ending */
#define ENDING_WITH_PURGE 18  /* so does the purge */
#define BUDGET_FOR_ALL 19     /* without a try left, a right passphrase is refused too */
#define EACH_GUESS 20         /* guesses of one group count one by one */
#define COUNT_UNDER_LOCK 21   /* the count is read from the locked row */
#define COUNT_IN_ROW 22       /* and written there, not kept by a process */
#define COUNT_FIRST 23        /* a guess is answered after its count is committed */
#define LINK_FIRST 24         /* a guess without the link does not count */

c_decl {
    \#include <stdlib.h>
    static int setting(const char *name) { const char *text = getenv(name); return text ? atoi(text) : 0; }
}
hidden byte without; /* the guard that is taken out, or 0 */
#define guard(name) (without != name)

hidden byte nonces; /* readers with a nonce: 2, or 1 where the second is a curl, which cannot send again */
#define BUDGET 2  /* tries of a passphrase before the first wait */
#define WAITS 1   /* times in a run that the next try becomes due */

/* An ending, and a delivery. */
#define NONE 0
#define READ 1
#define DESTROYED 2
#define EXPIRED 3
#define PURGED 4 /* after seven days */

#define ABSENT 0
#define FRESH 1
#define LATE 2 /* 60 seconds have passed */

typedef Rows {
    bit note;
    byte tries;
    bit blocked; /* no try is left, and the next one is not due */
    byte ending;
    byte delivery[2] /* of each reader's nonce */
}
Rows db, standby;

#define behind \
    (standby.note != db.note || standby.tries != db.tries || standby.blocked != db.blocked || \
     standby.ending != db.ending || standby.delivery[0] != db.delivery[0] || standby.delivery[1] != db.delivery[1])

inline copy(to, from)
{
    to.note = from.note;
    to.tries = from.tries;
    to.blocked = from.blocked;
    to.ending = from.ending;
    to.delivery[0] = from.delivery[0];
    to.delivery[1] = from.delivery[1]
}

/* Who holds the lock of the note's row. A zombie is a transaction that its server has lost touch with. */
#define NOBODY 0
#define SERVER(s) (s + 1)
#define ZOMBIE 3
byte lock = NOBODY;
bit zombie_commits; /* its COMMIT is on the way, and arrives or not */
byte zombie_taker;  /* 1 + the reader who takes the note by it */
byte zombie_wrong;  /* the wrong guesses it counts */

/* Where a reader is. */
#define SENDING 0 /* its request is on the way, the first one or a repeated one */
#define AT(s) (s + 1)
#define REFUSED 3 /* 429: it sends again when the next try is due */
#define HAS 4
#define DONE 5 /* and acknowledged */
#define GONE 6
#define LEFT 7    /* for good, and the server knows */
#define DEAF 8    /* without a nonce and without its connection, and the server does not know */
#define NOT_YET 9 /* nothing sent */
byte reader[2];

/* What a server is doing, and what becomes of each reader in its group. */
#define IDLE 0
#define GATHERED 1
#define DECIDED 2 /* the statements are answered, the transaction is open */
#define COMMITTING 3
#define FAILED 4
#define ANSWERING 5
byte phase[2] = IDLE;

#define NOT_HERE 0
#define ASKED 1
#define HIT 2
#define MISSED 3
#define FETCHED 4
#define NOT_THERE 5
#define LIMITED 6
typedef Group {
    byte result[2];
    byte guesses; /* of the guesser */
    byte wrong;   /* those that were compared, and wrong */
    bit unknown;  /* an earlier COMMIT of this group was sent and not answered */
    bit memory    /* by which the second reader, a curl, took the note */
}
Group group[2];

#define hit_by(s) (group[s].result[0] == HIT -> 1 : (group[s].result[1] == HIT -> 2 : 0))
#define leaver_hits(s) \
    (!group[s].unknown && (group[s].result[0] == HIT && reader[0] == LEFT || \
                           group[s].result[1] == HIT && reader[1] == LEFT))
#define fetches(s) (group[s].result[0] == FETCHED || group[s].result[1] == FETCHED)

/* What a statement saw when it began, for the mutants that go by that. */
Rows snapshot[2];
inline begin(s)
{
    printf("server %d begins with readers %d and %d (1: asks), guesses %d\n",
        s, group[s].result[0], group[s].result[1], group[s].guesses);
    phase[s] = GATHERED;
    if
    :: !guard(LATER_LOOKUP) || !guard(COUNT_UNDER_LOCK) -> copy(snapshot[s], db)
    :: else
    fi
}
#define delivery_seen(s, r) (guard(LATER_LOOKUP) -> db.delivery[r] : snapshot[s].delivery[r])
#define tries_seen(s) (guard(COUNT_UNDER_LOCK) -> db.tries : snapshot[s].tries)
#define blocked_seen(s) (guard(COUNT_UNDER_LOCK) -> db.blocked : snapshot[s].blocked)

byte faults; /* that may still happen */
byte guesses; /* that the guesser still sends */
byte waits = WAITS;
bit expired, destroy_asked;

/* The promises, and what nobody but the model knows. */
byte owed;            /* 1 + the reader who took the note, was not shown it, and has 60 seconds */
bit shown[2];         /* an answer with the message was sent to this reader */
byte answers = BUDGET; /* right or wrong, that may be given about passphrases */
bit link_guessed;     /* a guess was made with the link */

bit shown_to_two_readers, lost_while_the_reader_stays, taken_by_one_who_left, more_tries_than_the_budget,
    stranger_locks_out, end_without_ending, sealed_bytes_stay, reader_waits_for_ever;

inline broken(promise)
{
    promise = true;
    assert(!promise)
}

inline told()
{
    if
    :: answers == 0 -> broken(more_tries_than_the_budget)
    :: else -> answers--
    fi
}

inline show_to(r)
{
    printf("reader %d is shown the message\n", r);
    if
    :: shown[1 - r] -> broken(shown_to_two_readers)
    :: shown[r]
    :: else ->
        shown[r] = 1;
        told()
    fi;
    if
    :: owed == r + 1 -> owed = 0
    :: else
    fi
}

inline tell_guesser(s)
{
    if :: group[s].wrong > 0 -> told() :: else fi;
    if :: group[s].wrong > 1 -> told() :: else fi
}

inline end_note(how, written)
{
    printf("the note is gone; ending %d (1 read, 2 destroyed, 3 expired)\n", how);
    db.note = 0;
    db.tries = 0;
    db.blocked = 0;
    if
    :: written -> db.ending = how
    :: else
    fi;
    if
    :: db.ending == NONE -> broken(end_without_ending)
    :: else
    fi
}

/* With the note gone for good, these decide nothing: a state less for spin. */
inline tidy()
{
    if
    :: !db.note && !standby.note ->
        guesses = 0;
        waits = 0;
        expired = 0;
        destroy_asked = 0;
        link_guessed = 0
    :: else
    fi
}

inline replicate()
{
    copy(standby, db);
    tidy()
}

/* What a COMMIT does to the rows. */
inline commit(taker, wrong_guesses)
{
    printf("COMMIT happens: 1 + the taker %d, guesses counted %d\n", taker, wrong_guesses);
    if
    :: wrong_guesses && guard(COUNT_IN_ROW) ->
        db.tries = db.tries + wrong_guesses;
        db.blocked = (db.tries >= BUDGET)
    :: else
    fi;
    if
    :: taker ->
        end_note(READ, guard(ENDING_WITH_READ));
        if
        :: guard(SAME_TRANSACTION) -> db.delivery[taker - 1] = FRESH
        :: else
        fi;
        if
        :: reader[taker - 1] == GONE -> broken(lost_while_the_reader_stays)
        :: reader[taker - 1] <= REFUSED -> owed = taker
        :: else
        fi
    :: else
    fi
}

hidden byte first, ahead, with_link, rank, took;

#define may_be_tried(s) \
    (tries_seen(s) + rank < BUDGET || (tries_seen(s) >= BUDGET && !blocked_seen(s) && rank == 0))

inline guess(s)
{
    rank = (guard(EACH_GUESS) -> group[s].wrong : 0);
    if
    :: db.note && !expired && !took && (with_link || !guard(LINK_FIRST)) && may_be_tried(s) ->
        group[s].wrong++;
        link_guessed = (link_guessed || with_link)
    :: else
    fi
}

inline claim(s, r)
{
    rank = (guard(EACH_GUESS) -> group[s].wrong : 0);
    if
    :: group[s].result[r] != ASKED
    :: group[s].result[r] == ASKED &&
        (!db.note || expired || took || (reader[r] == LEFT && guard(LEAVERS) && !group[s].unknown)) ->
        group[s].result[r] = MISSED
    :: else ->
        if
        :: may_be_tried(s) || !guard(BUDGET_FOR_ALL) ->
            group[s].result[r] = HIT;
            took = r + 1
        :: else ->
            group[s].result[r] = LIMITED
        fi
    fi
}

inline look_up(s, r)
{
    if
    :: group[s].result[r] == MISSED ->
        if
        :: guard(DELIVERY) && (r < nonces || group[s].memory) &&
            (delivery_seen(s, r) == FRESH || (delivery_seen(s, r) == LATE && !guard(SIXTY_SECONDS)) ||
             (delivery_seen(s, 1 - r) == FRESH && !guard(OWN_NONCE))) ->
            group[s].result[r] = FETCHED;
            if
            :: db.delivery[r] == LATE -> broken(sealed_bytes_stay)
            :: else
            fi
        :: else ->
            group[s].result[r] = NOT_THERE
        fi
    :: else
    fi
}

inline answer(s, r)
{
    if
    :: group[s].result[r] == HIT || group[s].result[r] == FETCHED ->
        show_to(r);
        if
        :: reader[r] == AT(s) -> reader[r] = (r < nonces -> HAS : DONE)
        :: else
        fi
    :: group[s].result[r] == NOT_THERE && reader[r] == AT(s) ->
        if
        :: owed == r + 1 -> broken(lost_while_the_reader_stays)
        :: else
        fi;
        printf("reader %d is told that the note is gone\n", r);
        reader[r] = GONE
    :: group[s].result[r] == LIMITED && reader[r] == AT(s) ->
        if
        :: !link_guessed && db.note -> broken(stranger_locks_out)
        :: else
        fi;
        printf("reader %d is told to wait\n", r);
        reader[r] = REFUSED
    :: else
    fi
}

inline forget(s)
{
    group[s].result[0] = NOT_HERE;
    group[s].result[1] = NOT_HERE;
    group[s].guesses = 0;
    group[s].wrong = 0;
    group[s].unknown = 0;
    group[s].memory = 0;
    phase[s] = IDLE
}

/* The HTTP connection ends. A reader with a nonce sends its request again. */
inline hang_up(s, r)
{
    if
    :: reader[r] == AT(s) && r < nonces -> reader[r] = SENDING
    :: reader[r] == AT(s) && r >= nonces -> leave(r, DEAF)
    :: else
    fi
}

inline leave(r, how)
{
    reader[r] = how;
    if
    :: owed == r + 1 -> owed = 0
    :: else
    fi
}

inline unlock(s)
{
    if
    :: lock == SERVER(s) -> lock = NOBODY
    :: else
    fi
}

/* The transaction goes on without its server. */
inline abandon(s)
{
    if
    :: lock == SERVER(s) ->
        lock = ZOMBIE;
        zombie_commits = (phase[s] == COMMITTING);
        zombie_taker = (zombie_commits -> hit_by(s) : 0);
        zombie_wrong = (zombie_commits -> group[s].wrong : 0)
    :: else
    fi
}

inline bury_zombie()
{
    lock = NOBODY;
    zombie_commits = 0;
    zombie_taker = 0;
    zombie_wrong = 0
}

inline ask_again(s)
{
    group[s].wrong = 0;
    if :: group[s].result[0] -> group[s].result[0] = ASKED :: else fi;
    if :: group[s].result[1] -> group[s].result[1] = ASKED :: else fi
}

/* The database did not answer. */
inline fail(s)
{
    printf("server %d: the database does not answer\n", s);
    if
    :: phase[s] == COMMITTING && !guard(LOST_IS_UNKNOWN) -> phase[s] = ANSWERING
    :: else ->
        if
        :: phase[s] == COMMITTING ->
            group[s].unknown = 1;
            group[s].memory = (group[s].memory || (nonces < 2 && group[s].result[1] == HIT))
        :: else
        fi;
        ask_again(s);
        phase[s] = FAILED
    fi
}

proctype Server(byte s)
{
end:
    do
    /* Gather a group. Two idle servers are the same, and so are two readers with nonces: one begins. */
    :: atomic {
        phase[s] == IDLE && (s == 0 || phase[0] != IDLE) &&
            (reader[0] == SENDING || reader[1] == SENDING || guesses > 0) ->
        if
        :: reader[0] == SENDING ->
            reader[0] = AT(s);
            group[s].result[0] = ASKED;
            if :: reader[1] == NOT_YET -> reader[1] = SENDING :: else fi;
            if
            :: reader[1] == SENDING ->
                reader[1] = AT(s);
                group[s].result[1] = ASKED
            :: true
            fi
        :: reader[1] == SENDING ->
            reader[1] = AT(s);
            group[s].result[1] = ASKED
        :: guesses > 0 ->
            guesses--;
            group[s].guesses = 1
        fi;
        do
        :: guesses > 0 && group[s].guesses < 2 ->
            guesses--;
            group[s].guesses++
        :: break
        od;
        begin(s)
       }

    /* The statement, in any order of its members, and the look-up. They are two statements, and one step here:
       the lock, or the absence of the row, lets nothing come between them that either could see. */
    :: atomic {
        phase[s] == GATHERED &&
            (lock == NOBODY || !db.note || !guard(ROW_LOCK) || (expired && !guard(EXPIRY_UNDER_LOCK))) ->
        if
        :: db.note && lock == NOBODY -> lock = SERVER(s)
        :: else
        fi;
        first = 0;
        ahead = 0;
        with_link = 0;
        took = 0;
        if :: true :: group[s].result[0] && group[s].result[1] -> first = 1 fi;
        if :: true :: group[s].guesses > 0 -> ahead = 1 :: group[s].guesses > 1 -> ahead = 2 fi;
        if :: true :: group[s].guesses > 0 -> with_link = 1 fi;
        if :: ahead > 0 && group[s].guesses > 0 -> guess(s) :: else fi;
        if :: ahead > 1 && group[s].guesses > 1 -> guess(s) :: else fi;
        claim(s, first);
        claim(s, 1 - first);
        if :: ahead < 1 && group[s].guesses > 0 -> guess(s) :: else fi;
        if :: ahead < 2 && group[s].guesses > 1 -> guess(s) :: else fi;
        look_up(s, 0);
        look_up(s, 1);
        printf("server %d: 1 + the taker %d, wrong guesses %d, deliveries found %d\n",
            s, hit_by(s), group[s].wrong, fetches(s));
        if
        :: hit_by(s) || group[s].wrong || (fetches(s) && guard(OWN_COMMIT)) ->
            phase[s] = DECIDED
        :: else -> /* nothing to commit */
            unlock(s);
            phase[s] = ANSWERING
        fi
       }

    :: atomic {
        phase[s] == DECIDED ->
        if
        :: leaver_hits(s) && guard(LEAVERS) ->
            unlock(s);
            ask_again(s);
            begin(s)
        :: leaver_hits(s) && !guard(LEAVERS) ->
            broken(taken_by_one_who_left)
        :: else ->
            printf("server %d sends COMMIT\n", s);
            phase[s] = COMMITTING;
            if
            :: !guard(COMMIT_FIRST) ->
                answer(s, 0);
                answer(s, 1)
            :: else
            fi;
            if
            :: !guard(COUNT_FIRST) -> tell_guesser(s)
            :: else
            fi
        fi
       }

    :: atomic {
        phase[s] == COMMITTING ->
        took = hit_by(s);
        commit(took, group[s].wrong);
        unlock(s);
        if
        :: replicate();
            phase[s] = ANSWERING
        :: faults > 0 -> /* no answer */
            faults--;
            replicate();
            fail(s)
        :: faults > 0 -> /* a warning, or no answer: the standby may not have it */
            faults--;
            printf("the standby does not have it\n");
            if
            :: guard(WARNING_IS_UNKNOWN) -> fail(s)
            :: else -> phase[s] = ANSWERING
            fi
        fi
       }

    :: atomic {
        phase[s] == FAILED ->
        if
        :: begin(s)
        :: printf("server %d answers 503\n", s);
            hang_up(s, 0);
            hang_up(s, 1);
            forget(s)
        fi
       }

    :: atomic {
        phase[s] == ANSWERING ->
        if
        :: !guard(SAME_TRANSACTION) && hit_by(s) ->
            took = hit_by(s);
            db.delivery[took - 1] = FRESH
        :: else
        fi;
        answer(s, 0);
        answer(s, 1);
        if
        :: guard(COUNT_FIRST) -> tell_guesser(s)
        :: else
        fi;
        forget(s)
       }

    /* The connection to the database is cut, or silent. */
    :: atomic {
        lock == SERVER(s) && faults > 0 ->
        faults--;
        abandon(s);
        fail(s)
       }

    /* The server is killed. */
    :: atomic {
        phase[s] != IDLE && faults > 0 ->
        faults--;
        printf("server %d is killed\n", s);
        abandon(s);
        hang_up(s, 0);
        hang_up(s, 1);
        forget(s)
       }
    od
}

proctype Reader(byte r)
{
end:
    do
    /* It leaves, or its connection breaks and the server does not learn of it. */
    :: atomic {
        (reader[r] == AT(0) || reader[r] == AT(1)) && faults > 0 ->
        faults--;
        printf("the connection of reader %d ends\n", r);
        if
        :: leave(r, LEFT)
        :: hang_up(0, r);
            hang_up(1, r)
        fi
       }
    :: atomic {
        reader[r] == REFUSED && !(db.note && db.blocked) ->
        reader[r] = SENDING
       }
    /* The acknowledgement, repeated until it is answered. */
    :: atomic {
        reader[r] == HAS ->
        if
        :: guard(RECEIVED_REMOVES) -> db.delivery[r] = ABSENT
        :: else
        fi;
        if
        :: replicate();
            printf("reader %d acknowledges\n", r);
            reader[r] = DONE;
            if
            :: db.delivery[r] != ABSENT -> broken(sealed_bytes_stay)
            :: else
            fi
        :: faults > 0 -> faults--
        fi
       }
    od
}

inline late(r)
{
    printf("60 seconds have passed for reader %d\n", r);
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

inline purge_delivery(r)
{
    if
    :: db.delivery[r] == LATE -> db.delivery[r] = ABSENT
    :: else
    fi
}

inline lose_transaction(s)
{
    if
    :: phase[s] == DECIDED || phase[s] == COMMITTING -> fail(s)
    :: else
    fi
}

/* A note that a failover brings back was not read: a 404 before that is not held against anybody. */
inline forgive(r)
{
    if
    :: reader[r] == GONE || (reader[r] == AT(0) && group[0].result[r] == NOT_THERE && phase[0] == ANSWERING) ||
        (reader[r] == AT(1) && group[1].result[r] == NOT_THERE && phase[1] == ANSWERING) ->
        reader[r] = LEFT
    :: else
    fi
}

proctype World()
{
end:
    do
    /* A zombie is rolled back, or commits late. */
    :: atomic {
        lock == ZOMBIE ->
        printf("the lost transaction is rolled back\n");
        bury_zombie()
       }
    :: atomic {
        lock == ZOMBIE && zombie_commits ->
        commit(zombie_taker, zombie_wrong);
        bury_zombie();
        if
        :: replicate()
        :: true
        fi
       }

    :: atomic {
        behind -> replicate()
       }

    /* The database is killed, and comes back as it was, or the standby takes over. */
    :: atomic {
        faults > 0 && (lock != NOBODY || behind) ->
        faults--;
        printf("the database is killed\n");
        bury_zombie();
        lose_transaction(0);
        lose_transaction(1);
        if
        :: true
        :: behind ->
            if
            :: standby.note && !db.note ->
                owed = 0;
                forgive(0);
                forgive(1)
            :: else
            fi;
            printf("the standby takes over\n");
            copy(db, standby)
        fi
       }

    /* Time. */
    :: atomic {
        db.note && !expired ->
        printf("the note expires\n");
        expired = 1
       }
    :: atomic {
        db.delivery[0] == FRESH -> late(0)
       }
    :: atomic {
        db.delivery[1] == FRESH -> late(1)
       }
    :: atomic {
        db.note && db.blocked && waits > 0 ->
        printf("the next try is due\n");
        waits--;
        answers++;
        db.blocked = 0;
        standby.blocked = 0
       }

    /* The sender destroys the note. */
    :: atomic {
        db.note && lock == NOBODY && !expired && !destroy_asked ->
        destroy_asked = 1;
        end_note(DESTROYED, true);
        if
        :: replicate()
        :: true
        fi
       }

    /* The purge of notes, deliveries and endings. */
    :: atomic {
        db.note && lock == NOBODY && expired ->
        end_note(EXPIRED, guard(ENDING_WITH_PURGE));
        replicate()
       }
    :: atomic {
        (db.delivery[0] == LATE || db.delivery[1] == LATE) && guard(PURGE_DELIVERIES) ->
        purge_delivery(0);
        purge_delivery(1);
        replicate()
       }
    :: atomic {
        db.ending && db.ending != PURGED && !behind && !db.delivery[0] && !db.delivery[1] ->
        db.ending = PURGED;
        replicate()
       }

    /* A clock that jumps; somebody who acknowledges with a nonce of their own. */
    :: atomic {
        (db.delivery[0] || db.delivery[1]) && (!guard(TWO_CLOCKS) || !guard(RECEIVED_NONCE)) ->
        db.delivery[0] = ABSENT;
        db.delivery[1] = ABSENT
       }

    /* Nothing else can happen any more. */
    :: atomic {
        timeout ->
        if
        :: db.delivery[0] || db.delivery[1] -> broken(sealed_bytes_stay)
        :: db.ending != PURGED -> broken(end_without_ending)
        :: reader[0] <= REFUSED || reader[1] <= REFUSED -> broken(reader_waits_for_ever)
        :: else
        fi;
        break
       }
    od
}

init
{
    atomic {
        db.note = 1;
        standby.note = 1;
        c_code {
            without = setting("WITHOUT");
            nonces = setting("NONCES");
            now.faults = setting("FAULTS");
            now.guesses = setting("GUESSES");
        };
        reader[1] = (nonces == 2 -> NOT_YET : SENDING);
        run Server(0);
        run Server(1);
        run Reader(0);
        run Reader(1);
        run World()
    }
}
