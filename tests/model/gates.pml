/* How one task gets to be alone while all workers stand still: scheduler/place_lock.py, with what workers do
 * for it: Worker.aside, stop, at_safepoint, _go_on, _attend (scheduler/worker.py), Runtime.entered, left, _sleep,
 * freeze_worker (scheduler/runtime.py).
 *
 * Tasks on workers and OS threads outside enter and leave, or give up while they wait. Workers make steps, sleep
 * and wake, are frozen inside a step, compute without end, or sit in calls into C from which they may come back
 * at any moment or never. A worker may begin and depart at any moment. The runtime may end. The bell of the
 * owner is left out: it looks every PERIOD anyway.
 *
 * Memory is x86-TSO, as in parking.pml: the store that sets GATE is plain. An attempt to take a lock that fails
 * is no read-modify-write but a plain load.
 *
 *   MUST be so: while somebody is alone no other task runs on any worker. Whenever nothing moves: nobody
 *   waits to enter; nobody has the place lock; no worker waits for its gate; no safepoint is left on.
 *
 * Mutations, each of which must make spin find an error:
 *
 *   NO_FENCE        the owner's second attempt at a gate may come before its GATE is seen
 *   NO_SECOND_TRY   the owner does not try again after GATE
 *   NO_LOOK         a worker that stands aside does not look at GATE after it has released its gate
 *   COUNT_BLINDLY   a worker that stops does not look at GATE again under the lock
 *   ADMIT_FREELY    a worker that begins while somebody is alone is not held
 *   NO_DEPARTURE    a worker that departs is awaited for ever
 *   GATE_SKIPPED    who waited for its turn on a worker goes on without its gate
 *   GATE_LEFT       who gives up, or has cornered somebody, leaves GATE on
 *   NO_EVENTS       nobody is stopped inside a step
 *   CORNERED_EARLY  who sits in C is counted as stopped before the events of its code are on
 *   CLEARED_LATE    what the owner has asked for is taken back after the next may have begun
 *   STEP_ENDS       a worker whose task is the owner goes on to another task when a step of the owner ends
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef OUTSIDERS
#define OUTSIDERS 1
#endif
#ifndef ENTRIES
#define ENTRIES 1              /* by each outsider */
#endif
#ifndef INSIDE
#define INSIDE 1               /* sections of tasks on workers, in all */
#endif
#ifndef STEPS
#define STEPS 0                /* plain steps, in all */
#endif
#ifndef SLEEPS
#define SLEEPS 1               /* of workers, or freezes of them in a step; in all */
#endif
#ifndef HOGS
#define HOGS 0                 /* steps that compute without end */
#endif
#ifndef CALLS
#define CALLS 0                /* into C, in all */
#endif
#ifndef GIVE_UPS
#define GIVE_UPS 0             /* of those who wait to enter, in all */
#endif
#ifndef ENDS
#define ENDS 0                 /* whether the runtime may end */
#endif
#ifndef EXTRA
#define EXTRA 0                /* whether the last worker begins and departs at any moment */
#endif

#define OS_THREADS (WORKERS + OUTSIDERS)
#define NONE 255

chan buffer[OS_THREADS + 1] = [WORKERS] of { byte };   /* for whose GATE a plain store is under way */

byte lock;                     /* Runtime.lock */
bit gate[WORKERS];             /* locked */
bit attention[WORKERS];        /* the bit GATE of it */
bit member[WORKERS];           /* of Runtime.workers */
byte owner = NONE;             /* an OS thread */
bit closed, ended;
bit held[WORKERS];
bit awaited[WORKERS];
bit asked[WORKERS];            /* `_asked` has it */
bit stood[WORKERS];            /* `_asked` knows where it stood: safepoints.corner */
bit cornered[WORKERS];
bit wanted[WORKERS];           /* safepoints.update has put its events on */
bit watched[WORKERS];          /* those of the code to which it will return, too */
chan line = [OS_THREADS] of { byte };
bit bell[OS_THREADS];

bit in_c[WORKERS];
bit running[WORKERS];          /* code of a task runs here that is not the owner's */
bit alone;                     /* the owner believes that it is */
byte waits_for_gate;           /* how many workers do */
byte entering;                 /* how many tasks are */
byte inside = INSIDE, steps = STEPS, sleeps = SLEEPS, hogs = HOGS, calls = CALLS, give_ups = GIVE_UPS;
bit over;

#if WORKERS > 2
#define ANY(what) (what[0] || what[1] || what[2])
#else
#define ANY(what) (what[0] || what[1])
#endif

#define drained empty(buffer[me])

inline acquire() { atomic { drained && lock == 0 -> lock = me + 1 } }
inline release() { atomic { drained -> assert(lock == me + 1); lock = 0 } }

/* -- what the owner does ------------------------------------------------------------------------ */

/* PlaceLock._close. Holds the lock. */
inline close(worker) {
    owner = me;
    closed = 1;
    w = 0;
    do
    :: w < WORKERS && member[w] && !(worker && w == me) ->
        if
        :: atomic { drained && !gate[w] -> gate[w] = 1; held[w] = 1 }
        :: gate[w] ->
            buffer[me]!w;
#ifdef NO_FENCE
            awaited[w] = 1;
#else
            atomic { drained -> awaited[w] = 1 };
#endif
#ifdef NO_SECOND_TRY
            skip
#else
            if
            :: atomic { drained && !gate[w] -> gate[w] = 1; attention[w] = 0; awaited[w] = 0; held[w] = 1 }
            :: gate[w]
            fi
#endif
        fi;
        w++
    :: w < WORKERS && (!member[w] || worker && w == me) -> w++
    :: w == WORKERS -> w = 0; break
    od
}

/* PlaceLock._open. Holds the lock. What was asked of the workers is taken back in one go, but only some time
 * after the lock was released with CLEARED_LATE. */
inline open() {
    d_step {
        w = 0;
        do
        :: w < WORKERS ->
#ifndef GATE_LEFT
            if
            :: ANY(awaited) || ANY(cornered) -> attention[w] = 0
            :: else
            fi;
#endif
            w++
        :: else -> break
        od;
        w = 0;
        do
        :: w < WORKERS ->
            awaited[w] = 0;
            if
            :: held[w] -> assert(gate[w]); held[w] = 0; gate[w] = 0
            :: else
            fi;
            w++
        :: else -> break
        od;
        w = 0;
        owner = NONE;
        closed = 0
#ifndef CLEARED_LATE
        ; take_back()
#endif
    }
}

inline take_back() {
    w = 0;
    do
    :: w < WORKERS -> asked[w] = 0; stood[w] = 0; cornered[w] = 0; wanted[w] = 0; watched[w] = 0; w++
    :: else -> break
    od;
    w = 0
}

/* PlaceLock.leave */
inline leave() {
    acquire();
    if
    :: owner == me ->
        open();
        if
        :: line?other -> owner = other; bell[other] = 1
        :: empty(line)
        fi;
        other = 0
    :: else
    fi;
    release();
#ifdef CLEARED_LATE
    d_step { take_back() }
#endif
}

/* PlaceLock._press, where it changes something. Not under the lock: the look. */
inline press(x) {
    if
    :: !asked[x] ->
        acquire();
        if
        :: awaited[x] -> asked[x] = 1; wanted[x] = 1
        :: else
        fi;
        release()
    :: asked[x] ->
        looked = in_c[x];
        acquire();
        if
        :: awaited[x] && asked[x] && !looked -> stood[x] = 0
#ifndef CORNERED_EARLY
        :: awaited[x] && asked[x] && looked && !stood[x] -> watched[x] = 1; stood[x] = 1
        :: awaited[x] && asked[x] && looked && stood[x] -> awaited[x] = 0; cornered[x] = 1
#else
        :: awaited[x] && asked[x] && looked -> awaited[x] = 0; cornered[x] = 1; watched[x] = 1
#endif
        :: else
        fi;
        looked = 0;
        release()
    fi
}

#define PRESS(x) (awaited[x] && (!asked[x] || in_c[x] || stood[x]))

/* PlaceLock._gather. `entered` tells. */
inline gather() {
    do
    :: !ANY(awaited) -> entered = 1; break
#ifndef NO_EVENTS
    :: PRESS(0) -> press(0)
    :: PRESS(1) -> press(1)
#if WORKERS > 2
    :: PRESS(2) -> press(2)
#endif
#endif
    :: atomic { ANY(awaited) && give_ups -> give_ups-- }; leave(); break
    od;
    if
    :: entered && ANY(asked) ->
        acquire();
        if
        :: owner == me ->
            d_step {
                w = 0;
                do
                :: w < WORKERS ->
                    if
                    :: !cornered[w] -> asked[w] = 0; stood[w] = 0; wanted[w] = 0; watched[w] = 0
                    :: else
                    fi;
                    w++
                :: else -> break
                od;
                w = 0
            }
        :: else
        fi;
        release()
    :: else
    fi
}

/* PlaceLock.enter; `worker`: on one of the runtime's. `entered` tells. */
inline enter(worker) {
    entered = 1;
    entering++;
    acquire();
    if
    :: owner != NONE ->
        line!me;
        release();
        /* _wait_for_turn */
        if
        :: worker -> aside()
        :: else
        fi;
        if
        :: atomic { drained && bell[me] -> bell[me] = 0 }
        :: atomic { give_ups && !bell[me] -> give_ups-- };
            acquire();
            if
            :: line ?? [eval(me)] -> line ?? eval(me); entered = 0; release()
            :: else -> release(); atomic { drained && bell[me] -> bell[me] = 0 }
            fi
        fi;
#ifndef GATE_SKIPPED
        if
        :: worker -> take_gate()
        :: else
        fi;
#endif
        if
        :: entered ->
            if
            :: atomic { give_ups -> give_ups--; entered = 0 }; leave()
            :: acquire()
            fi
        :: else
        fi
    :: else
    fi;
    if
    :: entered ->
        if
        :: !ended -> close(worker)
        :: else
        fi;
        release();
        entered = 0;
        gather()
    :: else
    fi;
    entering--
}

inline begin_alone() {
    atomic {
        assert(ended || !alone && !ANY(running));
        alone = !ended
    }
}

inline end_alone() {
    atomic {
        assert(ended || !ANY(running));
        alone = 0
    };
    leave()
}

/* -- what the workers do ------------------------------------------------------------------------ */

inline take_gate() {
    waits_for_gate++;
    atomic { drained && !gate[me] -> gate[me] = 1; waits_for_gate-- }
}

/* PlaceLock._count. Holds the lock. */
inline count() { attention[me] = 0; held[me] = 1; awaited[me] = 0 }

/* Worker.aside and PlaceLock.stood_aside */
inline aside() {
    atomic { drained -> gate[me] = 0 };
#ifndef NO_LOOK
    if
    :: attention[me] ->
        acquire();
        if
        :: atomic { attention[me] && !gate[me] -> gate[me] = 1; count() }
        :: else
        fi;
        release()
    :: else
    fi
#else
    skip
#endif
}

/* Worker.stop and PlaceLock.left_to_owner */
inline stop() {
    acquire();
#ifdef COUNT_BLINDLY
    d_step { count() };
    release();
    take_gate()
#else
    if
    :: attention[me] -> d_step { count() }; release(); take_gate()
    :: else -> release()
    fi
#endif
}

/* Worker._attend and _find: before each step and before each sleep. */
inline attend() {
    do
    :: attention[me] -> stop()
    :: else -> break
    od
}

/* A piece of a task's code. */
inline code() {
    atomic { running[me] = 1; assert(!alone || ended) };
    running[me] = 0
}

proctype Worker(byte me; bit extra) {
    byte w, other;
    bit entered, looked;

    if
    :: !extra -> goto begun
    :: else
    fi;
    /* Runtime.entered */
    acquire();
    member[me] = 1;
#ifndef ADMIT_FREELY
    if
    :: closed -> gate[me] = 1; held[me] = 1
    :: else
    fi;
#endif
    release();
    take_gate();
begun:
    do
    :: attend();
        if
        :: atomic { steps -> steps-- }; code()
        :: atomic { sleeps -> sleeps-- }; aside(); skip; take_gate()
        :: atomic { inside -> inside-- };
            enter(1);
            if
            :: entered ->
                begin_alone();
                if
                :: end_alone()
                :: atomic { steps -> steps-- };
                    /* Its step ends before it leaves, and another task comes up. */
#ifndef STEP_ENDS
                    end_alone();       /* Worker._go_on */
                    attend();
                    code()
#else
                    code();
                    end_alone()
#endif
                fi
            :: else
            fi;
            entered = 0
        :: atomic { hogs -> hogs--; running[me] = 1; assert(!alone || ended) };
            do
            :: atomic { wanted[me] && attention[me] -> running[me] = 0 };
                attend();              /* Worker.at_safepoint */
                atomic { running[me] = 1; assert(!alone || ended) }
            :: over -> goto done
            od
        :: atomic { calls -> calls--; in_c[me] = 1 };
            if
            :: over -> goto done       /* it never comes back */
            fi
        :: atomic { calls -> calls--; in_c[me] = 1 };
            in_c[me] = 0;
            if
            :: watched[me] -> attend()
            :: else                    /* the next jump may be far */
            fi;
            code()
        :: break
        fi
    od;
    if
    :: extra ->
        /* Runtime.left */
        attend();
        acquire();
        member[me] = 0;
#ifndef NO_DEPARTURE
        awaited[me] = 0;
#endif
        release()
    :: else -> aside()
    fi;
done:
    skip
}

proctype Outsider(byte me) {
    byte w, other, todo = ENTRIES;
    bit entered, looked;
    do
    :: todo ->
        todo--;
        enter(0);
        if
        :: entered -> entered = 0; begin_alone(); end_alone()
        :: else
        fi
    :: else -> break
    od
}

/* PlaceLock.end */
proctype Closer(byte me) {
    byte w, other;
    acquire();
    ended = 1;
    if
    :: owner != NONE -> open()
    :: else
    fi;
    do
    :: line?other -> bell[other] = 1
    :: empty(line) -> break
    od;
    release()
}

/* The store buffers reach memory at any time. */
proctype Memory() {
    byte w;
    do
    :: atomic { buffer[0]?w -> attention[w] = 1; w = 0 }
    :: atomic { buffer[1]?w -> attention[w] = 1; w = 0 }
    :: atomic { buffer[2]?w -> attention[w] = 1; w = 0 }
#if OS_THREADS > 3
    :: atomic { buffer[3]?w -> attention[w] = 1; w = 0 }
#endif
    :: over -> break
    od
}

init {
    byte w;
    atomic {
        run Memory();
        do
        :: w < WORKERS ->
            if
            :: EXTRA && w == WORKERS - 1 -> run Worker(w, 1)
            :: else -> member[w] = 1; gate[w] = 1; run Worker(w, 0)
            fi;
            w++
        :: w >= WORKERS && w < OS_THREADS -> run Outsider(w); w++
        :: else -> w = 0; break
        od;
#if ENDS
        run Closer(OS_THREADS)
#endif
    };
    timeout ->                         /* nothing moves any more */
    d_step {
        assert(lock == 0);
        assert(entering == 0 && waits_for_gate == 0);
        assert(owner == NONE && !closed && empty(line));
        assert(!ANY(awaited) && !ANY(held) && !ANY(asked) && !ANY(cornered));
        assert(!ANY(wanted) && !ANY(watched));
        do
        :: w < WORKERS -> assert(!member[w] || !attention[w]); w++
        :: else -> w = 0; break
        od;
        over = 1
    }
}
