/* When is nothing going to happen any more? The look that comes before `Deadlock` is raised and before `idle()`
 * events happen: rtsync/runtime.py, idle_hook, is_quiet, nothing_runs.
 *
 * Two runtimes, A and B, with workers and one OS-backed thread each. Whoever runs may make somebody else
 * run (a task of either runtime, by its injection queue, or either OS-backed thread), and then blocks. The
 * first worker of A, whenever it goes idle, looks whether all is quiet: whether all workers stand in their idle
 * lists, no OS-backed thread is active, no queue holds a task. It cannot look at everything at once, and
 * what it has seen may change behind its back: somebody it has not looked at yet makes somebody run whom it
 * has seen idle, and is idle itself when its turn comes.
 *
 * So it looks twice, and believes its eyes only if nobody has moved in between: each worker counts its parks
 * before it publishes itself as idle, each runtime counts how often an OS-backed thread was made active.
 *
 * Mutations, each of which must make spin find an error:
 *
 *   ONE_LOOK      believes the first look
 *   NO_COUNTS     looks twice but does not compare the counts
 *   COMPARE_FIRST compares the counts before the second look instead of after it
 *   COUNT_LATE    counts a park after the publication
 */

#ifndef BUDGET
#define BUDGET 4               /* how often anybody is made to run, in all */
#endif

#define WORKERS 3              /* 0 and 1 belong to A, 2 to B */
#define RUNTIME(w) ((w) / 2)

byte injected[2];
bit idle[WORKERS];
bit permit[WORKERS];
bit parked[WORKERS];           /* Worker.parks was counted up since the one who looks has read it */
byte awake[2];                /* OsThreads.active */
bit activated[2];              /* the same for OsThreads.activations */
bit waits[2];                  /* the OS-backed thread is parked and not claimed */
bit os_ready[2];               /* the parker of the OS-backed thread */
byte budget = BUDGET;
bit running[WORKERS];          /* only for the truth below */

#define ALL_IDLE_A (idle[0] && idle[1])
#define ALL_IDLE_B (idle[2])
/* The truth: nobody runs and no task is queued. (A worker that leaves `idle` for nothing changes nothing.) */
#define QUIET (!running[0] && !running[1] && !running[2] \
    && !injected[0] && !injected[1] && !awake[0] && !awake[1])

/* Runtime.inject; who is idle is woken. In one step: who looks in between sees the queue. */
inline inject(r) {
    atomic {
        injected[r]++;
        if
        :: r == 0 && idle[0] -> idle[0] = 0; permit[0] = 1
        :: r == 0 && idle[1] -> idle[1] = 0; permit[1] = 1
        :: r == 1 && idle[2] -> idle[2] = 0; permit[2] = 1
        :: else
        fi
    }
}

/* OsThreads.ready, by the claimant of a thread that waits. */
inline activate(r) {
    atomic { awake[r]++; activated[r] = 1 };
    os_ready[r] = 1
}

/* Somebody runs: it may make somebody else run. */
inline act() {
    if
    :: skip
    :: atomic { budget -> budget-- };
        if
        :: inject(0)
        :: inject(1)
        :: atomic { waits[0] -> waits[0] = 0 }; activate(0)
        :: atomic { waits[1] -> waits[1] = 0 }; activate(1)
        fi
    fi
}

inline withdraw(w) {
    if
    :: atomic { idle[w] -> idle[w] = 0 }
    :: atomic { !idle[w] && permit[w] -> permit[w] = 0 }
    fi
}

/* All the conditions, one after the other; `quiet` tells. */
inline look() {
    quiet = 1;
    if :: awake[0] -> quiet = 0 :: else fi;
    if :: injected[0] -> quiet = 0 :: else fi;
    if :: !ALL_IDLE_A -> quiet = 0 :: else fi;
    if :: awake[1] -> quiet = 0 :: else fi;
    if :: injected[1] -> quiet = 0 :: else fi;
    if :: !ALL_IDLE_B -> quiet = 0 :: else fi
}

/* The counters only grow. Reading them all at once, as late as possible before the first look and as early as
 * possible after the second, is the worst case; and all that matters is whether one has changed. */
inline count() { d_step { parked[0] = 0; parked[1] = 0; parked[2] = 0; activated[0] = 0; activated[1] = 0 } }
#define CHANGED (parked[0] || parked[1] || parked[2] || activated[0] || activated[1])

inline check() {
    count();
    look();
#ifdef COMPARE_FIRST
    quiet = quiet && !CHANGED;
#endif
#ifndef ONE_LOOK
    if
    :: quiet ->
        look();
#if !defined(NO_COUNTS) && !defined(COMPARE_FIRST)
        quiet = quiet && !CHANGED
#endif
    :: else
    fi;
#endif
    if
    :: quiet -> assert(QUIET)
    :: else
    fi;
    quiet = 0
}

proctype Worker(byte me) {
    bit quiet;
    do
    :: atomic { injected[RUNTIME(me)] -> injected[RUNTIME(me)]--; running[me] = 1 };
       act();
       running[me] = 0
    :: !injected[RUNTIME(me)] ->
#ifdef COUNT_LATE
        idle[me] = 1;
        parked[me] = 1;
#else
        parked[me] = 1;
        idle[me] = 1;
#endif
        if
        :: injected[RUNTIME(me)] -> withdraw(me)
        :: else ->
            if
            :: me == 0 -> check()
            :: else
            fi;
end:        atomic { permit[me] -> permit[me] = 0 }
        fi
    od
}

proctype OsThread(byte me) {
    do
    :: act();
        waits[me] = 1;
        awake[me]--;
end:    atomic { os_ready[me] -> os_ready[me] = 0 }
    od
}

init {
    atomic {
        injected[0] = 1; injected[1] = 1;
        run Worker(0); run Worker(1); run Worker(2);
        awake[0] = 1; awake[1] = 1;
        run OsThread(0); run OsThread(1)
    }
}
