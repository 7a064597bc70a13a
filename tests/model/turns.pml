/* The turns of a pool: rtsync/pool.py, Turns, Core._press, Engine.entered, left, _sleep, freeze, pass_turn,
 * PoolThread.line_up, grant, main, seize, PoolDriver.wait and give_way.
 *
 * Workers of the pool begin, make steps, sleep, are frozen inside a step, and depart; OS threads of the pool
 * run, wait in operations, and end, and may be withdrawn while they stand in line. A worker may make steps
 * without end: it must come to a turn no more often than others want it. Tasks of both kinds have sections of a
 * mode that one has at a time (atomic mode, an uninterruptible lock), in which they must not block, and for which
 * they wait with their turns; their steps in it end when an operation is refused (Worker._go_on).
 *
 *   MUST be so: no more than TURNS run at once; no turn is lost or made. Whenever nothing moves: nobody is in
 *   line, though a worker makes steps without end; nobody is in line while a turn is free; nobody is in the mode
 *   or waits for it.
 *
 * Mutations, each of which must make spin find an error:
 *
 *   NO_PRESS        who lines up does not tell the workers
 *   PRESS_FIRST     who lines up tells them before it stands in line
 *   CLEAR_LATE      a worker takes its mark off after it has looked at the line
 *   NO_LINE         who gives a turn back does not look whether somebody is in line
 *   SLEEP_WITH_TURN a worker keeps its turn while it sleeps
 *   KEPT_AT_END     a worker that departs, or a thread that ends, keeps its turn
 *   WITHDRAWN_TOO   who is withdrawn is not taken out of the line
 *   STEP_ENDS       a worker looks whether its turn is wanted when a step in a section ends
 *   OVERTAKEN       a task that is refused in a section goes to the end of the queue
 */

#ifndef TURNS
#define TURNS 1
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef THREADS
#define THREADS 1              /* OS threads */
#endif
#ifndef STEPS
#define STEPS 2                /* of workers between two of which there is a look, in all */
#endif
#ifndef SLEEPS
#define SLEEPS 1               /* of workers, and freezes of them, in all */
#endif
#ifndef WAITS
#define WAITS 1                /* of OS threads, or give_way, in all */
#endif
#ifndef ENDLESS
#define ENDLESS 1              /* workers that make steps without end */
#endif
#ifndef SECTIONS
#define SECTIONS 0             /* in all */
#endif
#ifndef WITHDRAWALS
#define WITHDRAWALS 1
#endif

#define ALL (WORKERS + THREADS)

byte free = TURNS;             /* Turns._free */
chan line = [ALL] of { byte }; /* Turns._line; both under Turns._lock, so in one go */
bit granted[ALL];
byte have;                     /* how many have a turn */
bit member[WORKERS];           /* Runtime.workers */
bit attention[WORKERS];        /* the bit TURN of it; changed under Runtime.lock, so in one go */
byte steps = STEPS, sleeps = SLEEPS, waits = WAITS, endless = ENDLESS, withdrawals = WITHDRAWALS;
bit withdrawn[ALL];
byte sections = SECTIONS;
bit mode;                      /* somebody has it */
byte refused;                  /* tasks in the queue that have the mode (OVERTAKEN) */
bit over;

/* Core._press */
inline press() {
    atomic {
        if :: member[0] -> attention[0] = 1 :: else fi;
#if WORKERS > 1
        if :: member[1] -> attention[1] = 1 :: else fi
#endif
    }
}

/* Turns.take_or_line_up, and the wait for the grant: Turns.take or PoolThread.grant. */
inline take() {
    if
    :: atomic { free -> free--; have++; assert(have <= TURNS) }
    :: !free ->
#ifdef PRESS_FIRST
        press();
#endif
        if
        :: atomic { free -> free--; have++; assert(have <= TURNS) }
        :: atomic { !free -> line!me };
#if !defined(NO_PRESS) && !defined(PRESS_FIRST)
            press();
#endif
            if
            :: atomic { granted[me] -> granted[me] = 0; have++; assert(have <= TURNS) }
            :: withdrawn[me] -> goto done
            fi
        fi
    fi
}

/* Turns.pass_on and grant */
inline give() {
    atomic {
        have--;
        if
#ifndef NO_LINE
        :: line?next
#endif
        :: empty(line) -> free++; next = ALL
#ifdef NO_LINE
        :: nempty(line) -> free++; next = ALL
#endif
        fi
    };
    if
    :: next != ALL -> atomic { assert(!granted[next]); granted[next] = 1; next = ALL }
    :: else
    fi
}

/* Engine.pass_turn */
inline pass_turn() {
#ifdef CLEAR_LATE
    if
    :: nempty(line) -> attention[me] = 0; give(); take()
    :: empty(line) -> attention[me] = 0
    fi
#else
    attention[me] = 0;
    if
    :: nempty(line) -> give(); take()
    :: empty(line)
    fi
#endif
}

proctype Worker(byte me) {
    byte next = ALL;
    member[me] = 1;
    take();
    do
    :: attention[me] -> pass_turn()
    :: !attention[me] ->
        if
        :: atomic { steps -> steps-- }
        :: atomic { sections -> sections-- };
            atomic { !mode -> mode = 1 };
#ifdef STEP_ENDS
            if
            :: attention[me] -> pass_turn()
            :: else
            fi;
#endif
#ifdef OVERTAKEN
            refused++
#else
            mode = 0
#endif
        :: atomic { refused -> refused-- };
            mode = 0
        :: atomic { sleeps -> sleeps-- };
#ifndef SLEEP_WITH_TURN
            give();
#endif
            skip;
#ifndef SLEEP_WITH_TURN
            take()
#else
            skip
#endif
        :: atomic { sleeps -> sleeps-- };      /* for ever */
#ifndef SLEEP_WITH_TURN
            give();
#endif
            over -> goto done
        :: atomic { endless -> endless-- };
            do
            :: attention[me] -> pass_turn()
            :: over -> goto done
            od
        :: !refused -> break
        fi
    od;
    member[me] = 0;
#ifndef KEPT_AT_END
    give();
#endif
done:
    skip
}

proctype Thread(byte me) {
    byte next = ALL;
    take();
    do
    :: atomic { waits -> waits-- }; give(); skip; take()
    :: atomic { sections -> sections-- }; atomic { !mode -> mode = 1 }; mode = 0
    :: break
    od;
#ifndef KEPT_AT_END
    give();
#endif
done:
    skip
}

/* PoolThread.seize, Turns.withdraw: only of one that has not begun, which is let alone here. */
proctype Withdrawer() {
    byte i = WORKERS;
    do
    :: i < ALL && withdrawals ->
        if
        :: skip
#ifndef WITHDRAWN_TOO
        :: atomic { line??[eval(i)] -> line??eval(i); withdrawn[i] = 1; withdrawals-- }
#else
        :: atomic { line??[eval(i)] -> withdrawn[i] = 1; withdrawals-- }
#endif
        fi;
        i++
    :: else -> break
    od
}

init {
    byte i;
    atomic {
        do
        :: i < WORKERS -> run Worker(i); i++
        :: i >= WORKERS && i < ALL -> run Thread(i); i++
        :: else -> i = 0; break
        od;
        run Withdrawer()
    };
    timeout ->                         /* nothing moves any more */
    d_step {
        assert(empty(line) && !mode);
        assert(free + have == TURNS);
        assert(have == ENDLESS - endless);
        over = 1
    }
}
