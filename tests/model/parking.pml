/* How workers park and are woken: publish, fence, check. As in scheduler/runtime.py and worker.py.
 *
 * Producers from outside inject tasks; workers run them; a step may ready other tasks (the first one takes
 * the worker's `next` slot, which only the worker itself looks into; the one after moves it to the queue),
 * arm a timer, or never end. What is modelled step by step is every look at and every change of what
 * others see.
 *
 * Memory is x86-TSO: a plain store goes to the store buffer of its OS thread and reaches the others some
 * time later, at the latest before that thread's next read-modify-write (a deque operation, a lock). Which
 * stores are plain in the code is plain here.
 *
 *   MUST be so whenever nothing moves: no task in a queue while a worker sleeps; no permit left over; each
 *   token in its place; whoever sleeps for the timers sleeps no longer than to the first of them.
 *
 * Mutations, each of which must make spin find an error:
 *
 *   NO_RECHECK    a worker sleeps without a second look after its publication
 *   NO_PASS_ON    who was woken to search and has found something does not look whether there is more
 *   TOKEN_LATE    the search token is returned only after sleeping
 *   PERMIT_LEFT   who withdraws does not wait for the permit of one who has chosen him
 *   WATCH_FIRST   the poller reads the first deadline before it is published as idle
 *   NO_NUDGE      arming an earlier timer does not wake the poller
 *   ROLE_KEPT     the poller does not give its role back while it runs tasks
 *   PLAIN_PUSH    the injection is a plain store: no fence before the look at `idle`
 *   PLAIN_IDLE    the publication as idle is a plain store: no fence before the look at the queues
 *
 * With FENCED the last two get a fence after the plain store, and there must be no error again.
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef INJECTIONS
#define INJECTIONS 1           /* by each producer */
#endif
#ifndef READIES
#define READIES 2              /* tasks made ready by steps, in all */
#endif
#ifndef ARMS
#define ARMS 0                 /* timers armed by steps, in all */
#endif
#ifndef HOGS
#define HOGS 1                 /* steps that never end */
#endif

#define OS_THREADS (WORKERS + PRODUCERS)
#define NEVER 3                /* a time; the others are 1 and 2 */

/* What a plain store may be to, in a buffer. */
#define POLLING 0
#define INJECTED 1
#define IDLE 2

chan buffer[OS_THREADS] = [1] of { byte, byte };

byte injected;                 /* how many tasks are in the injection queue */
byte queue[WORKERS];
bit slot[WORKERS];
bit idle[WORKERS];             /* the idle list; which one a waker gets is left open */
bit search = 1;
bit role = 1;
byte polling = NEVER;          /* Runtime.polling: which worker */
byte permit[WORKERS];
bit searching[WORKERS];
bit asleep[WORKERS];           /* nothing but a permit (or the time) makes it go on */
bit hogged[WORKERS];
byte sleeps_until[WORKERS];    /* for one that sleeps as the poller */

byte timer_lock;
bit armed[NEVER];              /* a timer for time 1, for time 2 */
byte watched = NEVER;
byte now;

byte readies = READIES, arms = ARMS, hogs = HOGS;
bit over;

#define FIRST_DUE (armed[1] -> 1 : (armed[2] -> 2 : NEVER))
#define DUE (FIRST_DUE <= now)

#if WORKERS > 2
#define NOBODY (!idle[0] && !idle[1] && !idle[2])
#define QUEUED (queue[0] || queue[1] || queue[2])
#else
#define NOBODY (!idle[0] && !idle[1])
#define QUEUED (queue[0] || queue[1])
#endif

/* A read-modify-write drains the store buffer first. */
#define drained empty(buffer[me])

inline lock_timers() { atomic { drained && timer_lock == 0 -> timer_lock = me + 1 } }
inline unlock_timers() { atomic { assert(timer_lock == me + 1); timer_lock = 0 } }

/* Runtime.wake */
inline wake() {
    if
    :: atomic { drained && search -> search = 0 };
        if
        :: atomic { idle[0] -> idle[0] = 0; other = 0 }; give_permit(1)
        :: atomic { idle[1] -> idle[1] = 0; other = 1 }; give_permit(1)
#if WORKERS > 2
        :: atomic { idle[2] -> idle[2] = 0; other = 2 }; give_permit(1)
#endif
        :: atomic { NOBODY -> search = 1 }
        fi
    :: drained && !search
    fi
}

/* By the one that took `other` out of `idle`. */
inline give_permit(to_search) {
    atomic {
        if
        :: to_search -> searching[other] = 1
        :: else
        fi;
        assert(permit[other] == 0);
        permit[other]++;
        other = 0
    }
}

/* Runtime.nudge: make the poller look again. */
inline nudge() {
    other = polling;
    if
    :: other != NEVER ->
        if
        :: atomic { drained && idle[other] -> idle[other] = 0 }; give_permit(0)
        :: drained && !idle[other] -> other = 0
        fi
    :: else -> other = 0
    fi
}

/* The look at all queues, one after the other; sets `found`. */
inline look_for_work() {
    found = 0;
    if
    :: injected -> found = 1
    :: !injected ->
        i = 0;
        do
        :: i < WORKERS ->
            if
            :: queue[i] -> found = 1
            :: else
            fi;
            i++
        :: i >= WORKERS -> break
        od;
        i = 0
    fi
}

/* Task.ready on a worker: the slot, and who was in it to the queue. */
inline ready() {
    if
    :: atomic { !slot[me] -> slot[me] = 1 }
    :: else ->
        atomic { drained; queue[me]++ };
        if
        :: NOBODY
        :: !NOBODY -> wake()
        fi
    fi
}

/* TimerQueue.arm under its lock, for time t. */
inline arm(t) {
    lock_timers();
    armed[t] = 1;
    if
    :: t < watched ->
        watched = t;
#ifndef NO_NUDGE
        nudge()
#endif
    :: else
    fi;
    unlock_timers()
}

/* One step of one task. */
inline step() {
    if
    :: skip
    :: atomic { readies >= 1 -> readies-- }; ready()
    :: atomic { readies >= 2 -> readies = readies - 2 }; ready(); ready()
    :: atomic { arms && now < 1 && !armed[1] -> arms-- }; arm(1)
    :: atomic { arms && now < 2 && !armed[2] -> arms-- }; arm(2)
    :: atomic { hogs -> hogs--; hogged[me] = 1 }; over -> goto done
    fi
}

/* TimerQueue.fire: each timer readies a task. */
inline fire() {
    lock_timers();
    if
    :: atomic { armed[1] && now >= 1 -> armed[1] = 0; found = 1 }
    :: atomic { !(armed[1] && now >= 1) && armed[2] && now >= 2 -> armed[2] = 0; found = 1 }
    :: !DUE
    fi;
    unlock_timers();
    if
    :: found -> found = 0; ready()
    :: else
    fi
}

/* Worker._stop_searching */
inline stop_searching() {
    if
    :: searching[me] ->
        atomic { drained; searching[me] = 0; search = 1 };
#ifndef NO_PASS_ON
        if
        :: NOBODY
        :: !NOBODY ->
            look_for_work();
            if
            :: found -> found = 0; wake()
            :: else
            fi
        fi
#endif
    :: else
    fi
}

/* Leave `idle`; if a waker has chosen us in this moment, take the permit it gives. */
inline withdraw() {
    if
    :: atomic { drained && idle[me] -> idle[me] = 0 }
    :: drained && !idle[me] ->
#ifndef PERMIT_LEFT
        asleep[me] = 1;
        atomic { permit[me] -> permit[me]--; asleep[me] = 0 }
#else
        skip
#endif
    fi
}

inline watch() {
    lock_timers();
    watched = FIRST_DUE;
    sleeps_until[me] = watched;
    unlock_timers()
}

inline publish() {
#ifdef PLAIN_IDLE
    buffer[me]!IDLE, me;
#ifdef FENCED
    drained
#else
    skip
#endif
#else
    atomic { drained; idle[me] = 1 }
#endif
}

/* Runtime.park */
inline park() {
    atomic {
        drained;
        poller = role;
        role = 0
    };
    sleeps_until[me] = NEVER;
    if
    :: poller ->
        buffer[me]!POLLING, me;
#ifdef WATCH_FIRST
        watch();
        publish()
#else
        publish();
        watch()
#endif
    :: else -> publish()
    fi;
#ifndef NO_RECHECK
    look_for_work();
    if
    :: !found && poller && DUE -> found = 1
    :: else
    fi;
#endif
    if
    :: found -> found = 0; withdraw()
    :: else ->
        asleep[me] = 1;
        if
        :: atomic { permit[me] -> permit[me]--; asleep[me] = 0 }
        :: atomic { poller && now >= sleeps_until[me] -> asleep[me] = 0 }; withdraw()
        :: over -> goto done
        fi
    fi;
    if
    :: poller ->
#ifndef ROLE_KEPT
        buffer[me]!POLLING, NEVER;
        lock_timers(); watched = NEVER; unlock_timers();
        atomic { drained; role = 1 };
        sleeps_until[me] = NEVER;
        poller = 0
#else
        skip
#endif
    :: else
    fi
}

proctype Worker(byte me) {
    byte i, other;
    bit found, poller;
    do
    :: slot[me] -> slot[me] = 0; step()
    :: !slot[me] ->
        if
        :: atomic { queue[me] -> drained; queue[me]-- }; step()
        :: else ->
            /* Worker._find */
again:
            if
            :: DUE -> fire()
            :: else
            fi;
            if
            :: slot[me] -> atomic { slot[me] = 0; found = 1 }
            :: else ->
                if
                :: atomic { drained && queue[me] -> queue[me]--; found = 1 }
                :: atomic { drained && !queue[me] && injected -> injected--; found = 1 }
                :: drained && !queue[me] && !injected ->
                    do
                    :: i < WORKERS && !found ->
                        atomic {
                            if
                            :: i != me && queue[i] -> queue[i]--; found = 1
                            :: else
                            fi;
                            i++
                        }
                    :: i >= WORKERS || found -> i = 0; break
                    od
                fi
            fi;
            if
            :: found -> found = 0; stop_searching(); step()
            :: else ->
#ifndef TOKEN_LATE
                if
                :: searching[me] -> atomic { drained; searching[me] = 0; search = 1 }
                :: else
                fi;
                park();
#else
                if
                :: searching[me] -> searching[me] = 0; park(); atomic { drained; search = 1 }
                :: else -> park()
                fi;
#endif
                goto again
            fi
        fi
    od;
done:
    skip
}

proctype Producer(byte me) {
    byte other, todo = INJECTIONS;
    do
    :: todo ->
        todo--;
#ifdef PLAIN_PUSH
        buffer[me]!INJECTED, 0;
#ifdef FENCED
        drained;
#endif
#else
        atomic { drained; injected++ };
#endif
        if
        :: NOBODY
        :: !NOBODY -> wake()
        fi
    :: else -> break
    od
}

inline commit() {
    if
    :: what == POLLING -> polling = value
    :: what == INJECTED -> injected++
    :: what == IDLE -> idle[value] = 1
    fi;
    what = 0; value = 0
}

/* The store buffers reach memory at any time. */
proctype Memory() {
    byte what, value, i;
    do
    :: atomic { buffer[0]?what, value -> commit(); }
    :: atomic { buffer[1]?what, value -> commit(); }
    :: atomic { buffer[2]?what, value -> commit(); }
#if OS_THREADS > 3
    :: atomic { buffer[3]?what, value -> commit(); }
#endif
    :: over -> break
    od
}

init {
    byte i, sleepers, pollers;
    byte first;
    atomic {
        run Memory();
        do
        :: i < WORKERS -> sleeps_until[i] = NEVER; run Worker(i); i++
        :: i >= WORKERS && i < OS_THREADS -> run Producer(i); i++
        :: i >= OS_THREADS -> break
        od;
        i = 0
    };
    do
    :: timeout ->                      /* nothing moves any more */
        d_step {
            sleepers = 0; pollers = 0; i = 0;
            do
            :: i < WORKERS ->
                assert(permit[i] == 0);
                assert(!searching[i]);
                assert(asleep[i] || hogged[i]);
                if
                :: asleep[i] ->
                    assert(idle[i] && !slot[i]);
                    sleepers++;
                    if
                    :: polling == i -> pollers++; first = sleeps_until[i]
                    :: else
                    fi
                :: else -> assert(!idle[i])
                fi;
                i++
            :: else -> break
            od;
            i = 0;
            assert(search == 1);
            assert(sleepers == 0 || !(injected || QUEUED));
            assert(pollers == 1 - role);
            if
            :: FIRST_DUE == NEVER || sleepers == 0 -> over = 1
            :: else ->
                assert(FIRST_DUE > now);
                assert(pollers == 1 && first <= FIRST_DUE);
                now = first
            fi;
            first = 0
        }
        if
        :: over -> break
        :: else
        fi
    od
}
