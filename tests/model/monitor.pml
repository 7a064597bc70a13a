/* How the monitor goes to sleep and is woken: scheduler/monitor.py.
 *
 * Workers go idle and come back, one of them for a step that never ends. The monitor looks from time to time;
 * after some looks at an idle runtime it says that it is asleep, looks once more, and only then sleeps on
 * its bell. A worker that comes back rings if the monitor says that it is asleep. At last the runtime is
 * stopped, or not.
 *
 *   MUST be so: while a step that does not end runs, the monitor is not asleep; the bell is never rung
 *   twice (releasing a lock that is not held is an error); after `stop` the monitor's OS thread has ended.
 *
 * Mutations, each of which must make spin find an error:
 *
 *   NO_RECHECK      the monitor sleeps without a second look
 *   NO_RING         a worker that comes back does not ring
 *   ENTER_SILENTLY  nor does one that begins
 *   RISE_BLINDLY    the monitor takes `asleep` back without the ring of one who saw it
 */

#ifndef LOOKS
#define LOOKS 8                /* the monitor's looks while nothing else happens, in all */
#endif
#define PATIENCE 1
#define WORKERS 2

byte lock;                     /* Runtime.lock */
bit bell;                      /* released */
bit asleep = 1;
bit stopping;
bit thread;                    /* the monitor's OS thread was started */
bit ended;
bit sleeping;                  /* it waits for the bell alone */
bit idle[WORKERS] = 1;
bit entered[WORKERS];
bit hogged[WORKERS];
byte looks = LOOKS, jobs = 4, hogs = 1;

#define SLEEPS (idle[0] && idle[1])

inline acquire() { atomic { lock == 0 -> lock = _pid + 1 } }
inline release() { atomic { assert(lock == _pid + 1); lock = 0 } }
inline ring() { atomic { assert(!bell); bell = 1 } }

/* Monitor.wake */
inline wake() {
    acquire();
    if
    :: asleep && !stopping ->
        asleep = 0;
        if
        :: thread -> ring()
        :: else -> thread = 1; run Monitor()
        fi
    :: else
    fi;
    release()
}

proctype Monitor() {
    byte idle_looks;
    do
    :: !stopping ->
        if
        :: SLEEPS ->
            idle_looks++;
            if
            :: idle_looks > PATIENCE ->
                idle_looks = 0;
                acquire();
                if
                :: stopping -> release(); break
                :: else
                fi;
                asleep = 1;
                release();
#ifndef NO_RECHECK
                if
                :: SLEEPS -> goto sleep
                :: else ->
                    /* _rise */
                    acquire();
                    if
                    :: asleep -> asleep = 0
#ifndef RISE_BLINDLY
                    :: else -> atomic { bell -> bell = 0 }
#else
                    :: else
#endif
                    fi;
                    release();
                    goto again
                fi;
sleep:
#endif
                sleeping = 1;
end_sleep:      atomic { bell -> bell = 0; sleeping = 0 };
                goto again
            :: else
            fi
        :: else -> idle_looks = 0
        fi;
        /* bell.acquire(timeout=PERIOD) */
end_look:
        if
        :: atomic { bell -> bell = 0 }
        :: atomic { looks -> looks-- }
        fi;
again:  skip
    :: stopping -> break
    od;
    ended = 1
}

proctype Worker(byte me) {
    do
    :: atomic { jobs -> jobs--; idle[me] = 0 };     /* a waker has taken us out of `idle` */
        if
#ifdef ENTER_SILENTLY
        :: !entered[me] -> entered[me] = 1
        :: entered[me] ->
#else
        :: true ->
#endif
#ifndef NO_RING
            if
            :: asleep -> wake()
            :: !asleep
            fi
#else
            skip
#endif
        fi;
        if
        :: atomic { hogs -> hogs--; hogged[me] = 1 };
end_hog:    false
        :: idle[me] = 1
        fi
    :: !jobs -> break
    od
}

proctype Stopper() {
    bit rung;
    if
    :: skip
    :: acquire();
        stopping = 1;
        if
        :: thread && asleep -> asleep = 0
        :: else
        fi;
        atomic {                       /* _bell_once */
            if
            :: !bell -> bell = 1
            :: else
            fi
        };
        release()
    fi
}

init {
    atomic { run Worker(0); run Worker(1); run Stopper() };
    timeout ->
        assert(!sleeping || !(hogged[0] || hogged[1]) || stopping);
        assert(!(stopping && thread) || ended);
        assert(!(hogged[0] || hogged[1]) || thread || stopping)
end:    skip;
        true
}
