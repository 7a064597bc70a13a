/* The turn of a thread group: rtsync/thread_group.py, ThreadGroup.push and remove, Turn.take, _go_home, on_pending,
 * _step. How workers that find a turn in a run queue are woken is in parking.pml.
 *
 * Two groups, the second a member of the first. Whoever likes makes members ready; workers take the turn of
 * the first group from the run queue, and by it a member, which is a thread or the turn of the second group.
 * A step may make the member (by giving way) or another one ready, or never end. A member may be taken out
 * (killed, suspended) at any moment. Which member of a queue is the first is left open.
 *
 *   MUST be so: a turn is in one place. Whenever nothing moves: no member waits, though a step does
 *   not end; each turn is at home.
 *
 * Mutations, each of which must make spin find an error:
 *
 *   NO_RECHECK     a worker that has put the turn home does not look at the queue again
 *   LOOK_FIRST     who makes a member ready looks for the turn before it has queued the member
 *   TURN_SHARED    two who see the turn at home both take it
 *   STEP_FIRST     the turn is put back after the step of what it was taken for
 *   LOST_IF_EMPTY  a worker that finds the queue empty, because of a removal, does not put the turn home
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef PUSHERS
#define PUSHERS 2
#endif
#ifndef PUSHES
#define PUSHES 1               /* by each pusher */
#endif
#ifndef READIES
#define READIES 2              /* members made ready by steps, in all */
#endif
#ifndef REMOVALS
#define REMOVALS 1
#endif
#ifndef HOGS
#define HOGS 1                 /* steps that never end; fewer than workers */
#endif
#ifndef OWED
#define OWED 1                 /* how often a worker makes steps that a group was owed */
#endif

byte queue[2];                 /* threads of the group that are ready */
bit turn_in_queue;             /* the second group's turn is in the queue of the first */
bit in_run_queue;              /* the first group's turn */
bit home[2] = 1;
byte readies = READIES, removals = REMOVALS, hogs = HOGS, owed = OWED;
bit over;

#define MEMBERS(g) (queue[g] || (!(g) && turn_in_queue))

/* The second half of ThreadGroup.push, and of Turn._go_home: take the turn of g if it is at home. `got` tells. */
inline take_from_home(g) {
#ifdef TURN_SHARED
    home[g] = 0;
    got = 1
#else
    if
    :: atomic { home[g] -> home[g] = 0; got = 1 }
    :: !home[g]
    fi
#endif
}

inline look(g) {
#ifdef LOOK_FIRST
    seen = home[g]
#else
    skip
#endif
}

inline look_and_take(g) {
#ifndef LOOK_FIRST
    seen = home[g];
#endif
    if
    :: seen -> seen = 0; take_from_home(g)
    :: else
    fi
}

/* Turn.queue_up of the first group, by the one who has the turn. */
inline queue_up_first() { atomic { assert(!in_run_queue); in_run_queue = 1; got = 0 } }

/* The same of the second group, that is ThreadGroup.push of its turn. */
inline queue_up_second() {
    got = 0;
    look(0);
    atomic { assert(!turn_in_queue); turn_in_queue = 1 };
    look_and_take(0);
    if
    :: got -> queue_up_first()
    :: else
    fi
}

/* ThreadGroup.push of a thread */
inline push_to_first() {
    look(0);
    queue[0]++;
    look_and_take(0);
    if
    :: got -> queue_up_first()
    :: else
    fi
}

inline push_to_second() {
    look(1);
    queue[1]++;
    look_and_take(1);
    if
    :: got -> queue_up_second()
    :: else
    fi
}

/* Turn._go_home */
inline go_home_first() {
    atomic { assert(!home[0] && !in_run_queue); home[0] = 1 };
#ifndef NO_RECHECK
    if
    :: MEMBERS(0) -> take_from_home(0)
    :: else
    fi;
#endif
    if
    :: got -> queue_up_first()
    :: else
    fi
}

inline go_home_second() {
    atomic { assert(!home[1] && !turn_in_queue); home[1] = 1 };
#ifndef NO_RECHECK
    if
    :: MEMBERS(1) -> take_from_home(1)
    :: else
    fi;
#endif
    if
    :: got -> queue_up_second()
    :: else
    fi
}

inline put_back_first() {
    if
    :: MEMBERS(0) -> queue_up_first()
    :: else -> go_home_first()
    fi
}

inline put_back_second() {
    if
    :: MEMBERS(1) -> queue_up_second()
    :: else -> go_home_second()
    fi
}

/* Worker.step of a thread */
inline step() {
    if
    :: skip
    :: atomic { readies -> readies-- }; push_to_first()
    :: atomic { readies -> readies-- }; push_to_second()
    :: atomic { hogs -> hogs-- }; over -> goto done
    fi
}

/* Turn.take of the second group */
inline take_second() {
    if
    :: atomic { queue[1] -> queue[1]-- };
#ifdef STEP_FIRST
        step();
        put_back_second()
#else
        put_back_second();
        step()
#endif
    :: !queue[1] ->
#ifndef LOST_IF_EMPTY
        go_home_second()
#else
        skip
#endif
    fi
}

proctype Worker() {
    bit got, seen;
    do
    :: atomic { in_run_queue -> in_run_queue = 0 };
        /* Turn.take of the first group */
        if
        :: atomic { queue[0] -> queue[0]-- };
#ifdef STEP_FIRST
            step();
            put_back_first()
#else
            put_back_first();
            step()
#endif
        :: atomic { turn_in_queue -> turn_in_queue = 0 };
            put_back_first();
            take_second()
        :: !MEMBERS(0) ->
#ifndef LOST_IF_EMPTY
            go_home_first()
#else
            skip
#endif
        fi;
        /* Turn.on_pending: steps that the group is owed, without the turn. */
        if
        :: skip
        :: atomic { owed && queue[0] -> owed--; queue[0]-- }; step()
        :: atomic { owed && turn_in_queue -> owed--; turn_in_queue = 0 }; take_second()
        fi
    :: over -> break
    od;
done:
    skip
}

proctype Pusher() {
    byte todo = PUSHES;
    bit got, seen;
    do
    :: todo ->
        todo--;
        if
        :: push_to_first()
        :: push_to_second()
        fi
    :: else -> break
    od
}

/* ThreadGroup.remove */
proctype Remover() {
    do
    :: atomic { removals && queue[0] -> removals--; queue[0]-- }
    :: atomic { removals && queue[1] -> removals--; queue[1]-- }
    :: over -> break
    od
}

init {
    byte i;
    atomic {
        run Remover();
        do
        :: i < WORKERS -> run Worker(); i++
        :: i >= WORKERS && i < WORKERS + PUSHERS -> run Pusher(); i++
        :: else -> break
        od;
        i = 0
    };
    timeout ->                         /* nothing moves any more */
    d_step {
        assert(!queue[0] && !queue[1] && !turn_in_queue && !in_run_queue);
        assert(home[0] && home[1]);
        over = 1
    }
}
