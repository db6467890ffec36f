/* The slot protocol of sidecar/_shm.pyx (class Arena) and client/inheriting.py: who may have which slot, and when.

   Two workers claim slots, fill them, send their places through a queue and let go. They end or are killed at any moment,
   and their pid may come back for another worker. Their parent receives in two threads, which share what it knows of its
   slots, and forks a child that goes on reading what it inherited. What the code does under Python's lock without running
   any Python, and each single operation on a slot's word, is one step here; everything else interleaves.

   A word is laid out as in the code, with shorter numbers: flags (3 bits), ticket (3), pid (2), birth (2). That tickets do
   not come round again while a place is on its way is taken for granted: the code has 19 bits for them.

   Checked: nobody gets a slot that somebody else has (the assertion in take); what a process has never changes under its
   eyes, and what arrives is what was sent (those on content); no step waits for one that never comes (no invalid end); when
   all have let go or have died no slot is lost (the assertions in init).

   -D puts a fault in, and each must be found: test_arena_model.py has the list. */

#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef CLAIMS
#define CLAIMS 1        /* by each worker process */
#endif
#ifndef WORKERS
#define WORKERS 2       /* at a time */
#endif
#ifndef LIVES
#define LIVES 1         /* worker processes in turn with pid 1; with 0 nobody is killed */
#endif
#ifndef THREADS
#define THREADS 1       /* of the parent */
#endif
#ifndef FORKS
#define FORKS 0         /* of the parent, besides its workers: 0 or 1 */
#endif

#define FILLING 1
#define SENT 2
#define HELD 4
#define BUSY 7
#define TICKET(w) ((w >> 3) & 7)
#define PROCESS(w) ((w >> 6) & 15)      /* pid and birth together */
#define PID(w) ((w >> 6) & 3)
#define BIRTH(w) ((w >> 8) & 3)

short word[SLOTS];

/* The kernel's: the birth of the living process with a pid; 0 when there is none. */
byte birth[3];

/* What really is. No code looks at these. */
byte content[SLOTS];    /* which claim wrote the memory last; */
byte claims;            /* claims are numbered */
byte filler[SLOTS];     /* the pid of the worker that has views of the slot */
bool has[SLOTS];        /* the parent has a view; it stands for */
byte stands_for[SLOTS]; /* this content */
byte inherited[SLOTS];  /* the child has a view, of this content; 0: none */

/* What the parent knows: Arena.witnesses, Arena.forks, Arena.lingering, and what the pipe to the child says. */
bool watched[SLOTS];
bool under_way;
bool lingering[SLOTS];
bool child_made, child_over;

/* A slot, its ticket, and what the sender put there. */
chan queue = [4] of { byte, byte, byte };

/* -- any process -------------------------------------------------------------------------------------------------- */

/* Arena.reclaim: a word is read; its process is looked for, once in a pass; the word is changed if it is still the same. */
inline reclaim() {
    atomic { known = 0; living = 0; at = 0 };
    do
    :: at < SLOTS ->
        before = word[at];
        if
        :: before == 0 -> break
        :: before != 0 && (before & (FILLING | SENT)) == 0
        :: before != 0 && (before & (FILLING | SENT)) != 0 ->
            atomic {
#ifdef BIRTHS_BY_PID
                /* One birth for each pid, whatever word asks for it. */
                if
                :: !(known & (1 << PID(before))) ->
                    known = known | (1 << PID(before));
                    living = living | (birth[PID(before)] << (4 * PID(before)))
                :: else
                fi;
                dead = ((living >> (4 * PID(before))) & 15) != BIRTH(before)
#else
                if
                :: !(known & (1 << PROCESS(before))) ->
                    known = known | (1 << PROCESS(before));
                    if
                    :: birth[PID(before)] == BIRTH(before) -> living = living | (1 << PROCESS(before))
                    :: else
                    fi
                :: else
                fi;
                dead = !(living & (1 << PROCESS(before)))
#endif
            };
            if
            :: dead ->
                atomic {
                    if
#ifdef NO_COMPARE
                    :: true -> word[at] = before & ~(FILLING | SENT)
#elif defined(TAKE_HELD)
                    :: word[at] == before -> word[at] = before & ~BUSY
                    :: else
#else
                    :: word[at] == before -> word[at] = before & ~(FILLING | SENT)
                    :: else
#endif
                    fi
                }
            :: else
            fi
        fi;
        at++
    :: else -> break
    od;
    atomic { known = 0; living = 0; before = 0; dead = false }
}

/* -- workers ------------------------------------------------------------------------------------------------------ */

/* However a process ends: its memory goes first, then its pid. Its views die without a word. */
inline die() {
    atomic {
        at = 0;
        do
        :: at < SLOTS ->
            if
            :: filler[at] == me -> filler[at] = 0
            :: else
            fi;
            at++
        :: else -> break
        od;
        at = 0;
        birth[me] = 0
    }
}

/* Arena._take: the new word says who has it. */
inline take() {
    word[at] = FILLING | (((TICKET(before) + 1) & 7) << 3) | (me << 6) | (born << 8);
    assert(filler[at] == 0 && !has[at] && inherited[at] == 0);
    filler[at] = me;
    ticket = TICKET(word[at]);
    got = true
}

/* Arena._claim_ready: the lowest slot that nobody has. */
inline claim() {
    atomic { got = false; at = 0 };
    do
    :: at < SLOTS ->
        before = word[at];
        if
        :: before & BUSY
        :: else ->
            atomic {
                if
                :: word[at] == before -> take()
                :: else
                fi
            };
            if
            :: got -> break
            :: else
            fi
        fi;
        at++
    :: else -> break
    od;
    before = 0
}

proctype Worker(byte me; byte born) {
    short before;
    int known, living;
    byte at, ticket, mine, turn;
    bool got, dead;
    {
        do
        :: turn < CLAIMS ->
            turn++;
            claim();
            if
            :: got
            :: else -> reclaim(); claim()
            fi;
            if
            :: got ->
                atomic { claims++; mine = claims; content[at] = mine };
                if
                :: true ->
                    /* Slot.send: nobody else changes the word of a slot that is being filled. */
                    before = word[at];
                    atomic {
                        assert(word[at] == before);
                        word[at] = before | SENT;
                        before = 0
                    };
                    queue ! at, ticket, mine
                :: true     /* a transform raises */
                fi;
                atomic {
                    assert(content[at] == mine);
                    filler[at] = 0;
                    word[at] = word[at] & ~FILLING;
                    ticket = 0;
                    mine = 0
                }
            :: else         /* no slot: the batch goes the ordinary way */
            fi
        :: break
        od;
        die()
    } unless { birth[me] != born }
}

/* kill -9 whenever it likes; and the same pid for another worker. */
proctype Fate() {
    byte at, me, lives = 1;
    do
    :: birth[1] != 0 -> me = 1; die()
    :: birth[2] != 0 -> me = 2; die()
    :: birth[1] == 0 && lives < LIVES ->
        atomic {
            lives++;
            birth[1] = lives;
            run Worker(1, lives)
        }
    :: break
    od
}

/* -- the parent --------------------------------------------------------------------------------------------------- */

/* Arena.receive: what was not sent under that ticket, or was taken back since, is refused. */
inline receive() {
    do
    :: true ->
        before = word[at];
        if
#ifdef NO_TICKET
        :: !(before & SENT) -> break
#else
        :: !(before & SENT) || TICKET(before) != ticket -> break
#endif
        :: else
        fi;
        atomic {
            if
            :: word[at] == before ->
                word[at] = (before & ~SENT) | HELD;
                assert(content[at] == mine);
                assert(!has[at]);
                has[at] = true;
                stands_for[at] = mine;
                got = true
            :: else
            fi
        };
        if
        :: got -> break
        :: else
        fi
    od;
    atomic { at = 0; before = 0; ticket = 0; mine = 0; got = false }
}

/* Slot.__dealloc__, Arena._went: the last view dies. */
inline let_go(slot) {
    atomic {
        assert(content[slot] == stands_for[slot]);
        has[slot] = false;
        stands_for[slot] = 0;
        if
        :: watched[slot] || under_way -> lingering[slot] = true
        :: else -> word[slot] = word[slot] & ~HELD
        fi;
        watched[slot] = false
    }
}

/* Arena._sweep. To ask whether the child is over runs Python: the other thread may come by, or a signal's handler raise. */
inline sweep() {
    at = 0;
    do
    :: at < SLOTS ->
#ifdef SWEEP_IN_PLACE
        if
        :: lingering[at] ->
            if
            :: child_over -> word[at] = word[at] & ~HELD
            :: else -> kept = kept | (1 << at)
            fi
        :: else
        fi;
#else
        atomic { mine = lingering[at]; lingering[at] = false };
        if
        :: mine ->
            if
            :: child_over -> word[at] = word[at] & ~HELD
            :: true -> lingering[at] = true     /* not yet, or it raised */
            fi
        :: else
        fi;
#endif
        at++
    :: else -> break
    od;
#ifdef SWEEP_IN_PLACE
    atomic {
        at = 0;
        do
        :: at < SLOTS -> lingering[at] = (kept >> at) & 1; at++
        :: else -> break
        od
    };
#endif
    atomic { at = 0; kept = 0; mine = 0 }
}

/* os.fork with the handlers of client/inheriting.py around it. */
inline fork() {
    child_made = true;
#ifdef WATCH_AFTER_FORK
    /* The child is watched if there was anything for it to inherit, and what is let go meanwhile is let go. */
    atomic { got = has[0] || has[SLOTS - 1] };
#else
    got = true;
    under_way = true;
#endif
    atomic {
        do
        :: at < SLOTS ->
            if
            :: has[at] -> inherited[at] = stands_for[at]
            :: else
            fi;
            at++
        :: else -> break
        od;
        at = 0;
        run Child()
    };
    atomic {
        do
        :: at < SLOTS ->
            if
            :: has[at] && got -> watched[at] = true
            :: else
            fi;
            at++
        :: else -> break
        od;
        at = 0;
        got = false;
        under_way = false
    }
}

proctype Child() {
    byte at;
    do
    :: at < SLOTS ->
        atomic {
            assert(inherited[at] == 0 || inherited[at] == content[at]);
            inherited[at] = 0
        };
        at++
    :: else -> break
    od;
    child_over = true
}

/* A thread of the parent: the main one forks, and counts, for which it takes back what the dead had. */
proctype Thread(bool main) {
    short before;
    int known, living;
    byte at, ticket, mine, kept;
    bool got, dead, counted;
    do
    :: queue ? at, ticket, mine -> receive()
    :: atomic { has[0] -> let_go(0) }
    :: atomic { has[SLOTS - 1] -> let_go(SLOTS - 1) }
    :: lingering[0] || lingering[SLOTS - 1] -> sweep()
    :: main && FORKS && !child_made -> fork()
    :: main && !counted -> counted = true; reclaim(); at = 0
    :: break
    od
}

init {
    short before;
    int known, living;
    byte at, mine, kept;
    bool dead;
    atomic {
        birth[1] = 1;
        run Worker(1, 1);
        if
        :: WORKERS == 2 -> birth[2] = 1; run Worker(2, 1)
        :: else
        fi;
        if
        :: LIVES > 0 -> run Fate()
        :: else
        fi;
        run Thread(true);
        if
        :: THREADS == 2 -> run Thread(false)
        :: else
        fi
    };
    _nr_pr == 1;
    /* All have ended but the parent, which lets go of everything and looks once more. */
    at = 0;
    do
    :: at < SLOTS ->
        if
        :: has[at] -> let_go(at)
        :: else
        fi;
        at++
    :: else -> break
    od;
    at = 0;
    do
    :: at < SLOTS ->
        atomic {
            if
            :: lingering[at] ->
                assert(child_over);
                lingering[at] = false;
                word[at] = word[at] & ~HELD
            :: else
            fi
        };
        at++
    :: else -> break
    od;
    reclaim();
    at = 0;
    do
    :: at < SLOTS -> assert(!(word[at] & BUSY)); at++
    :: else -> break
    od
}
