/* Two workers, both idle, look at once whether anybody can run: rtsync/runtime.py, idle_hook and nothing_runs.
 *
 * One thread waits for idleness, and the main one for what that is going to put. A worker that is idle looks
 * whether both are, and whether their slots are empty. If so it wakes who waits for idleness: takes it out of
 * the queue of the event, claims it, puts it into its own slot, and is idle no more when it takes it out of
 * there. If nobody waits for idleness, and main waits, that is a deadlock.
 *
 * Between two of these things the other worker may look, and must not believe that nobody can run: so one at a
 * time looks, until whom it has woken is in the slot; and the slot of an idle worker is looked at, too.
 * (`quiet` is about those who are not idle, and has one worker that looks.)
 *
 * Mutations, each of which must make spin find an error:
 *
 *   NO_LOCK       both look at the same time
 *   NO_SLOTS      the slots are not looked at
 *   WITHDRAW_LATE takes the thread out of the slot before it leaves the idle list
 */

bit idle[2];
bit slot[2];
bit looking;                   /* the lock */
bit queued = 1;                /* stands in the queue of the event */
bit main_waits = 1;
bit on_its_way;                /* for the truth only: who was taken out of the queue has not put yet */

inline lock() {
#ifndef NO_LOCK
    atomic { !looking -> looking = 1 }
#else
    skip
#endif
}

inline unlock() {
#ifndef NO_LOCK
    looking = 0
#else
    skip
#endif
}

inline look() {
    quiet = 1;
    if :: !idle[0] || !idle[1] -> quiet = 0 :: else fi;
#ifndef NO_SLOTS
    if :: slot[0] || slot[1] -> quiet = 0 :: else fi;
#endif
    if :: !idle[0] || !idle[1] -> quiet = 0 :: else fi
}

proctype Worker(byte me) {
    bit quiet;
    idle[me] = 1;
    lock();
    look();
    if
    :: quiet ->
        if
        :: atomic { queued -> queued = 0; on_its_way = 1 };  /* under the lock of the event */
            skip;                                             /* claims it */
            slot[me] = 1
        :: !queued ->
            if
            :: main_waits -> assert(!on_its_way)              /* Deadlock */
            :: else
            fi
        fi
    :: else
    fi;
    unlock();
    if
    :: slot[me] ->
#ifdef WITHDRAW_LATE
        slot[me] = 0;
        idle[me] = 0;
#else
        idle[me] = 0;
        slot[me] = 0;
#endif
        main_waits = 0;                                       /* it runs, and puts */
        on_its_way = 0
    :: else
    fi
}

init {
    atomic { run Worker(0); run Worker(1) }
}
