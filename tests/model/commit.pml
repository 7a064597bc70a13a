/* The commit protocol of `sync`, as in rtsync/sync.py, channel.py, waiter.py, thread.py and timers.py.
 *
 * Threads synchronize again and again on several channel ends at once, some with a timeout, one of them is
 * killed. What is modelled step by step, because others may come in between: taking and releasing each
 * lock, each claim of a token, each readying, each look at `pending`. What only the holder of a lock
 * touches (a queue) is done in one step.
 *
 *   waiter       a number; tok[w] is the one-shot claim token: 0 before its thread has parked, 1 while it
 *                waits, 0 for ever once claimed
 *   queue entry  (waiter, case), for puts the value follows from both
 *   exchange     happens at the claim: exch[v] counts how often the value v changed hands
 *
 * SCENARIO chooses the threads (see init). The mutations, each of which must make spin find an error:
 *
 *   NO_ORDER      locks are taken in the order of the cases, not in the global order
 *   NO_BACK_OFF   who gets from either of two channels waits for the second lock with the first in hand
 *   ONE_BY_ONE    each event is polled and enqueued under its own lock, not all under all
 *   NO_TOKEN      a claim does not look whether somebody else was faster
 *   COMMIT_FIRST  the locks are released before the thread has parked (the token is not there yet)
 *   NO_LOOK       no look at `pending` when parking
 *   LOOK_FIRST    that look is made before who wants to stop the thread can find it
 *   SWEEP_FREELY  leaving a queue sweeps it without the lock
 *   SWEEP_TRUSTING  the last entry of a queue that one leaves is taken to be one's own
 *   SELF_MATCH    enqueue first, then poll: meets itself
 *   FIRE_BLINDLY  a timer resumes its thread without claiming it
 */

#ifndef SCENARIO
#define SCENARIO 1
#endif

#define A 0
#define B 1
#define TIMER 2              /* the timers' lock, taken alone or with others held, never before them */
#define NONE 9

#define GET 1
#define PUT 2
#define TIME 3

#define MOST_CASES 3
#define ROUNDS 2                /* waiters of a thread: one for each sync, one more after a suspension */
#define KILL 1
#define SUSPEND 2
#define RETRY 8                /* in place of a case: the operation was given up */

#if SCENARIO >= 5 && SCENARIO != 8
#define THREADS 4
#else
#define THREADS 3
#endif

#define WAITERS (THREADS * ROUNDS)
#define VALUES (WAITERS * MOST_CASES)
#define OWNER(w) ((w) / ROUNDS)
#define VALUE(w, c) ((w) * MOST_CASES + (c))
#define KIND(i) kinds[t * MOST_CASES + (i)]
#define WHERE(i) where[t * MOST_CASES + (i)]

byte lock[3];                          /* the holder's _pid + 1 */
bit tok[WAITERS];
chan getters[2] = [8] of { byte, byte };
chan putters[2] = [8] of { byte, byte };
byte dead_count[4];                    /* WaitQueue.dead: getters of A, B, putters of A, B */
bit armed[WAITERS];                    /* the timer queue; which case follows from the thread */

byte kinds[THREADS * MOST_CASES];      /* what the cases of each thread are */
byte where[THREADS * MOST_CASES];
byte many[THREADS];
byte rounds[THREADS];

bit runnable[THREADS];                 /* in the run queue */
bit thrown[THREADS];                   /* seized by the killer: ThreadKilled is thrown in */
bit held[THREADS];                     /* suspended, and in no queue */
bit parked[THREADS];                   /* the coroutine has stopped */
byte pending[THREADS];
byte waiter_of[THREADS];               /* Task.waiter */
byte chosen[THREADS];                  /* Task.value: the case */
bit ended[THREADS];
bit killed[THREADS];
byte victim = NONE;

byte exch[VALUES];
bit over;                              /* quiescent: let all processes end */

inline acquire(l) { atomic { lock[l] == 0 -> lock[l] = _pid + 1 } }
inline release(l) { atomic { assert(lock[l] == _pid + 1); lock[l] = 0 } }

/* waiter.pop(): whether it was ours to pop */
inline claim(w, got) {
    atomic {
#ifdef NO_TOKEN
        got = 1;
#else
        got = tok[w];
#endif
        tok[w] = 0
    }
}

/* The claimant leaves the case, and puts the thread into the run queue. */
inline give(w, c) {
    atomic {
        assert(parked[OWNER(w)]);      /* never resumed while it still runs */
        assert(!runnable[OWNER(w)] && !thrown[OWNER(w)]);   /* never resumed twice */
        assert(!held[OWNER(w)]);       /* a suspended one completes nothing */
        chosen[OWNER(w)] = c;
        runnable[OWNER(w)] = 1
    }
}

/* Channel._poll, ChannelPut._poll: claim the first living one of the other side. `won` tells.
 * Only who holds the lock sees the queue, so popping and claiming can be one step; the claim is what matters. */
inline poll_channel(queue, is_get, me, mycase) {
    do
    :: atomic {
        nempty(queue) ->
            queue?w, c;
            claim(w, got);
            if
            :: got ->
                assert(OWNER(w) != t);     /* never meets itself */
                if
                :: is_get -> v = VALUE(w, c)
                :: else -> v = VALUE(me, mycase)
                fi;
                exch[v]++;
                assert(exch[v] == 1);      /* no value is delivered twice */
                won = 1; got = 0; v = 0
            :: else -> w = 0; c = 0        /* dead: claimed by someone else */
            fi
       };
       if
       :: won -> give(w, c); break
       :: else
       fi
    :: empty(queue) -> break
    od;
    atomic { w = 0; c = 0 }
}

inline poll_case(i) {
    if
    :: KIND(i) == GET -> poll_channel(putters[WHERE(i)], 1, mine, i)
    :: KIND(i) == PUT -> poll_channel(getters[WHERE(i)], 0, mine, i)
    :: KIND(i) == TIME -> if :: won = 1 :: skip fi   /* the time may have passed */
    fi
}

inline enqueue(i) {
    if
    :: KIND(i) == GET -> getters[WHERE(i)]!mine, i
    :: KIND(i) == PUT -> putters[WHERE(i)]!mine, i
    :: KIND(i) == TIME                 /* a deadline is armed with the commit */
    fi
}

/* ArmAndRelease: under the timers' own lock, with the locks of the events still held. */
inline arm() {
    if
    :: KIND(many[t] - 1) == TIME -> atomic { lock[TIMER] == 0 -> armed[mine] = 1 }
    :: else
    fi
}

inline enqueue_all() {
    atomic {
        i = 0;
        do
        :: i < many[t] -> enqueue(i); i++
        :: else -> break
        od;
        i = 0
    }
}

/* WaitQueue.left: one died here early; sweep when the dead outnumber the living. Holds the lock. */
inline left(queue, number) {
    dead_count[number]++;
    if
    :: dead_count[number] * 2 > len(queue) ->
        dead_count[number] = 0;
        n = len(queue);
#ifdef SWEEP_TRUSTING
        if
        :: n == 1 -> queue?w, c; n = 0     /* "of one we know that it is dead" */
        :: else
        fi;
#endif
        do
        :: n > 0 ->
            queue?w, c;
            if
            :: tok[w] -> queue!w, c
            :: else
            fi;
            n--
        :: else -> break
        od
    :: else
    fi;
    w = 0; c = 0; n = 0
}

inline leave(i) {
#ifndef SWEEP_FREELY
    acquire(WHERE(i));
#endif
    atomic {
        if
        :: KIND(i) == GET -> left(getters[WHERE(i)], WHERE(i))
        :: KIND(i) == PUT -> left(putters[WHERE(i)], 2 + WHERE(i))
        :: KIND(i) == TIME -> armed[mine] = 0    /* TimerQueue.disarm */
        fi;
#ifndef SWEEP_FREELY
        lock[WHERE(i)] = 0
#endif
    }
}

/* All but number `but`. */
inline leave_all(but) {
    do
    :: i < many[t] && i != but -> leave(i); i++
    :: i < many[t] && i == but -> i++
    :: i >= many[t] -> break
    od;
    i = 0
}

#define HAS(l) (   (WHERE(0) == (l)) \
                || (many[t] > 1 && WHERE(1) == (l)) \
                || (many[t] > 2 && WHERE(2) == (l)))

inline lock_all() {
#ifdef NO_ORDER
    do
    :: atomic { i < many[t] && lock[WHERE(i)] == _pid + 1 -> i++ }
    :: atomic { i < many[t] && lock[WHERE(i)] == 0 -> lock[WHERE(i)] = _pid + 1; i++ }
    :: atomic { i >= many[t] -> i = 0; break }
    od
#else
    do
    :: atomic { i < TIMER && !HAS(i) -> i++ }
    :: atomic { i < TIMER && HAS(i) && lock[i] == 0 -> lock[i] = _pid + 1; i++ }
    :: atomic { i >= TIMER -> i = 0; break }
    od
#endif
}

/* `_get_either`: in any order, but who cannot have the second lets go of the first. */
#define EITHER (many[t] == 2 && KIND(0) == GET && KIND(1) == GET)

inline lock_either() {
    do
    :: acquire(WHERE(i));
       if
       :: atomic { lock[WHERE(1 - i)] == 0 -> lock[WHERE(1 - i)] = _pid + 1 }; break
#ifndef NO_BACK_OFF
       :: lock[WHERE(1 - i)] != 0 -> release(WHERE(i)); i = 1 - i
#endif
       fi
    od;
    i = 0
}

inline unlock_all() {
    do
    :: atomic { i < TIMER && !HAS(i) -> i++ }
    :: atomic { i < TIMER && HAS(i) -> assert(lock[i] == _pid + 1); lock[i] = 0; i++ }
    :: atomic { i >= TIMER -> i = 0; break }
    od
}

/* Controlled._hold, under the thread's lock; or be runnable if one was resumed meanwhile. */
inline hold_or_go() {
    atomic {
        if
        :: pending[t] & SUSPEND -> held[t] = 1
        :: else -> runnable[t] = 1
        fi
    }
}

proctype Thread(byte t) {
    byte round, used, mine, first, i, n;   /* this sync */
    byte w, c, v;                      /* somebody else's entry */
    bit got, won, asked;

    do
    :: round < rounds[t] ->
        mine = t * ROUNDS + used;
        used++;
        atomic {                       /* any case may be polled first */
            if
            :: first = 0
            :: many[t] > 1 -> first = 1
            :: many[t] > 2 -> first = 2
            fi
        };
#ifdef ONE_BY_ONE
        do
        :: i < many[t] && !won ->
            n = (first + i) % many[t];
            acquire(WHERE(n));
            poll_case(n);
            release(WHERE(n));
            i++
        :: else -> break
        od;
        i = 0; n = 0;
        if
        :: won -> goto synced
        :: else
        fi;
        do
        :: i < many[t] ->
            acquire(WHERE(i));
            enqueue(i);
            release(WHERE(i));
            i++
        :: else -> break
        od;
        atomic { parked[t] = 1; tok[mine] = 1; i = 0 };
        waiter_of[t] = mine;
        arm();
#else
        if
        :: EITHER -> lock_either()
        :: else -> lock_all()
        fi;
#ifdef SELF_MATCH
        enqueue_all();
        atomic { parked[t] = 1; tok[mine] = 1 };
#endif
        do
        :: i < many[t] && !won ->
            poll_case((first + i) % many[t]);
            i++
        :: else -> break
        od;
        i = 0;
        if
        :: won ->
            unlock_all();
            goto synced
        :: else
        fi;
#ifndef SELF_MATCH
        enqueue_all();
#endif
#ifdef COMMIT_FIRST
        parked[t] = 1;
        unlock_all();
        tok[mine] = 1;
        waiter_of[t] = mine;
        arm();
#else
        /* The worker: the coroutine has stopped; task.waiter, waiter.append(task), a look at `pending`,
         * commit.release(). */
#ifdef LOOK_FIRST
        asked = (pending[t] != 0);
#endif
        waiter_of[t] = mine;
        atomic { parked[t] = 1; tok[mine] = 1 };
#ifndef LOOK_FIRST
        asked = (pending[t] != 0);
#endif
        arm();
        unlock_all();
#endif
#endif
        first = 0;
#ifndef NO_LOOK
        /* Controlled.on_parked */
        if
        :: asked ->
            asked = 0;
            claim(mine, got);
            if
            :: got && (pending[t] & KILL) -> got = 0; goto dying
            :: got && !(pending[t] & KILL) ->
                got = 0;
                chosen[t] = RETRY;
                hold_or_go()
            :: else                    /* who has the claim resumes us */
            fi
        :: else
        fi;
#endif
asleep:
        if
        :: atomic { runnable[t] -> runnable[t] = 0 }
        :: atomic { thrown[t] -> thrown[t] = 0; goto dying }
        :: over -> goto done
        fi;
        /* on_pending, before the step */
        if
        :: pending[t] & KILL -> goto dying
        :: pending[t] & SUSPEND -> hold_or_go(); goto asleep
        :: !pending[t]
        fi;
        atomic {
            parked[t] = 0;
            first = chosen[t];
            chosen[t] = NONE;
            if
            :: first != RETRY && KIND(first) == PUT -> assert(exch[VALUE(mine, first)] == 1)
            :: else
            fi
        };
        if
        :: first == RETRY ->
            leave_all(NONE);
            first = 0;
            goto again
        :: else
        fi;
        leave_all(first);
        first = 0;
synced:
        atomic { won = 0; round++ };
again:
        skip
    :: else -> break
    od;
    goto done;

dying:  /* ThreadKilled at the point where it stands: leave all queues */
    parked[t] = 0;
    leave_all(NONE);
    killed[t] = 1;
done:
    ended[t] = 1
}

/* Set the bit, then try once to seize the thread; the rest is up to that. (The real one goes on trying.)
 * kill: who has seized it throws ThreadKilled in. suspend: it is held until resume. */
proctype Requester(byte bits) {
    byte w, t;
    bit got;
    t = victim;
    pending[t] = bits;
    w = waiter_of[t];
    if
    :: w != NONE ->
        claim(w, got);
        if
        :: got && bits == KILL ->
            atomic {
                assert(parked[t] && !runnable[t] && !held[t]);
                thrown[t] = 1
            };
            goto seized
        :: got && bits == SUSPEND ->
            assert(parked[t] && !runnable[t] && !held[t]);
            chosen[t] = RETRY;
            hold_or_go();
            goto seized
        :: else
        fi
    :: else
    fi;
    /* Runtime.unqueue */
    if
    :: atomic { runnable[t] && bits == KILL -> runnable[t] = 0; thrown[t] = 1 }
    :: atomic { runnable[t] && bits == SUSPEND -> runnable[t] = 0; got = 1 };
        hold_or_go()
    :: else
    fi;
seized:
    if
    :: bits == SUSPEND ->
        /* resume, at any time after: under the thread's lock, then ready() */
        atomic {
            pending[t] = 0;
            got = held[t];
            held[t] = 0
        };
        if
        :: got -> atomic { assert(!runnable[t]); runnable[t] = 1 }
        :: else
        fi
    :: else
    fi
}

/* TimerQueue.fire: take what is due under the lock, claim outside of it. Time may pass at any moment. */
proctype Clock() {
    byte w;
    bit got;
    do
    :: atomic {
        (lock[TIMER] == 0 && (armed[0] || armed[1] || armed[2] || armed[3])) ->
            if
            :: armed[0] -> w = 0
            :: armed[1] -> w = 1
            :: armed[2] -> w = 2
            :: armed[3] -> w = 3
            fi;
            armed[w] = 0               /* acquire, take it out, release: nobody else can look in between */
       };
#ifdef FIRE_BLINDLY
       tok[w] = 0;
       give(w, many[OWNER(w)] - 1);
#else
       claim(w, got);
       if
       :: got -> give(w, many[OWNER(w)] - 1)   /* the timeout is the last case */
       :: else
       fi;
#endif
       atomic { got = 0; w = 0 }
    :: over -> break
    od
}

#define SET(t, i, kind, at) kinds[(t) * MOST_CASES + (i)] = kind; where[(t) * MOST_CASES + (i)] = at

/* The threads that wait with a case of this kind on channel x. By the tokens, not by the queues: a waiter
 * that has got lost from its queue still waits. */
inline waiting(kind, set) {
    set = 0; k = 0;
    do
    :: k < THREADS * MOST_CASES ->
        t = k / MOST_CASES;
        if
        :: !ended[t] && k % MOST_CASES < many[t] && kinds[k] == kind && where[k] == x -> set = set | (1 << t)
        :: else
        fi;
        k++
    :: else -> break
    od;
    k = 0; t = 0
}

init {
    byte t, k, x, gets, puts;

    atomic {
        do
        :: t < THREADS -> waiter_of[t] = NONE; chosen[t] = NONE; rounds[t] = ROUNDS; t++
        :: else -> break
        od;
#if SCENARIO == 1
        /* Both ends of two channels, in both directions, by three threads. */
        SET(0, 0, GET, A); SET(0, 1, PUT, B); many[0] = 2;
        SET(1, 0, GET, B); SET(1, 1, PUT, A); many[1] = 2;
        SET(2, 0, PUT, B); SET(2, 1, GET, A); many[2] = 2; rounds[2] = 1;
#elif SCENARIO == 2
        /* Both ends of one channel in one sync, beside plain gets and puts. */
        SET(0, 0, GET, A); SET(0, 1, PUT, A); many[0] = 2;
        SET(1, 0, PUT, A); SET(1, 1, GET, A); many[1] = 2;
        SET(2, 0, GET, A); many[2] = 1; rounds[2] = 1;
#elif SCENARIO == 3
        /* A timeout as the third event. */
        SET(0, 0, GET, A); SET(0, 1, PUT, B); SET(0, 2, TIME, TIMER); many[0] = 3;
        SET(1, 0, PUT, A); SET(1, 1, TIME, TIMER); many[1] = 2; rounds[1] = 1;
        SET(2, 0, GET, B); many[2] = 1;
#elif SCENARIO == 4
        /* A kill of a thread with two events and a timeout. */
        SET(0, 0, PUT, B); SET(0, 1, GET, A); SET(0, 2, TIME, TIMER); many[0] = 3; rounds[0] = 1;
        SET(1, 0, PUT, A); SET(1, 1, GET, B); many[1] = 2;
        SET(2, 0, PUT, A); many[2] = 1; rounds[2] = 1;
        victim = 0;
#elif SCENARIO == 6
        /* Who leaves a queue meets others there, who came after it was emptied of the dead. */
        SET(0, 0, GET, A); SET(0, 1, GET, B); many[0] = 2; rounds[0] = 1;
        SET(1, 0, PUT, B); many[1] = 1; rounds[1] = 1;
        SET(2, 0, GET, A); many[2] = 1;
        SET(3, 0, PUT, A); many[3] = 1;
#elif SCENARIO == 7
        /* One is suspended and resumed: it leaves its queues, and begins its operation again. */
        SET(0, 0, GET, A); SET(0, 1, PUT, B); many[0] = 2; rounds[0] = 1;
        SET(1, 0, PUT, A); SET(1, 1, GET, B); many[1] = 2; rounds[1] = 1;
        SET(2, 0, PUT, A); many[2] = 1; rounds[2] = 1;
        victim = 0;
#elif SCENARIO == 8
        /* Gets from either of two channels, named in both orders, beside a sync that takes the locks in order;
         * one of the getters is killed. */
        SET(0, 0, GET, A); SET(0, 1, GET, B); many[0] = 2; rounds[0] = 1;
        SET(1, 0, GET, B); SET(1, 1, GET, A); many[1] = 2; rounds[1] = 1;
        SET(2, 0, PUT, A); SET(2, 1, PUT, B); many[2] = 2;
        victim = 0;
#else
        /* Four threads and a kill. */
        SET(0, 0, GET, A); SET(0, 1, PUT, B); many[0] = 2; rounds[0] = 1;
        SET(1, 0, PUT, A); SET(1, 1, GET, B); many[1] = 2; rounds[1] = 1;
        SET(2, 0, GET, B); many[2] = 1; rounds[2] = 1;
        SET(3, 0, PUT, A); many[3] = 1; rounds[3] = 1;
        victim = 1;
#endif
        t = 0;
        do
        :: t < THREADS -> run Thread(t); t++
        :: else -> break
        od;
#if SCENARIO == 3 || SCENARIO == 4
        run Clock();
#endif
#if SCENARIO == 7
        run Requester(SUSPEND);
#else
        if
        :: victim != NONE -> run Requester(KILL)
        :: else
        fi;
#endif
        t = 0
    };

    /* Nothing can move any more. */
    timeout ->
    d_step {
        assert(lock[A] == 0 && lock[B] == 0 && lock[TIMER] == 0);   /* not each waiting for the other */
        k = 0; x = 0;
        do
        :: x < 2 ->
            waiting(GET, gets);
            waiting(PUT, puts);
            /* nobody waits who could proceed: a getter and a putter that are not one thread */
            if
            :: gets != 0 && puts != 0 -> assert(gets == puts && (gets & (gets - 1)) == 0)
            :: else
            fi;
            x++
        :: else -> break
        od;
        t = 0;
        do
        :: t < THREADS ->
            /* a killed one is dead; one with a timeout is not waiting for ever; nobody is left over */
            assert(ended[t] || parked[t]);
            assert(!pending[t] || ended[t]);
            assert(!runnable[t] && !thrown[t] && !held[t]);
            if
            :: !ended[t] ->
                assert(tok[waiter_of[t]]);
                assert(kinds[t * MOST_CASES + many[t] - 1] != TIME)
            :: else
            fi;
            t++
        :: else -> break
        od;
        over = 1
    }
}
