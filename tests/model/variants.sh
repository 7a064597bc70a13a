# shellcheck shell=sh
# What run.sh checks: `holds` or `fails`, the model, and the names that choose the variant of it. The heads of
# the models say what each name means. The longest first: they run in parallel.

holds commit SCENARIO=5
holds commit SCENARIO=4
holds quiet BUDGET=3
holds parking WORKERS=3 PRODUCERS=1 INJECTIONS=2 READIES=0 HOGS=0
holds commit SCENARIO=7
holds commit SCENARIO=8
holds commit SCENARIO=3
holds commit SCENARIO=6
holds commit SCENARIO=1
holds commit SCENARIO=2
fails commit NO_ORDER SCENARIO=1
fails commit NO_BACK_OFF SCENARIO=8
fails commit ONE_BY_ONE SCENARIO=1
fails commit NO_TOKEN SCENARIO=1
fails commit COMMIT_FIRST SCENARIO=1
fails commit SELF_MATCH SCENARIO=2
fails commit FIRE_BLINDLY SCENARIO=3
fails commit NO_LOOK SCENARIO=5
fails commit LOOK_FIRST SCENARIO=5
fails commit SWEEP_FREELY SCENARIO=6
fails commit SWEEP_TRUSTING SCENARIO=6

holds parking
holds parking ARMS=2 PRODUCERS=1 READIES=1
fails parking NO_RECHECK
fails parking NO_PASS_ON
fails parking TOKEN_LATE
fails parking PERMIT_LEFT
fails parking WATCH_FIRST ARMS=2 PRODUCERS=1 READIES=0
fails parking NO_NUDGE ARMS=2 PRODUCERS=1 READIES=0
fails parking ROLE_KEPT ARMS=2 PRODUCERS=1 READIES=0
fails parking PLAIN_PUSH
holds parking PLAIN_PUSH FENCED
fails parking PLAIN_IDLE
holds parking PLAIN_IDLE FENCED

fails quiet ONE_LOOK BUDGET=2
fails quiet NO_COUNTS BUDGET=2
fails quiet COMPARE_FIRST BUDGET=3
fails quiet COUNT_LATE BUDGET=3

holds look
fails look NO_LOCK
fails look NO_SLOTS
fails look WITHDRAW_LATE

holds monitor
fails monitor NO_RECHECK
fails monitor NO_RING
fails monitor ENTER_SILENTLY
fails monitor RISE_BLINDLY

holds gates WORKERS=3 INSIDE=0 STEPS=1
holds gates INSIDE=2 STEPS=1 GIVE_UPS=1
holds gates OUTSIDERS=2 GIVE_UPS=1
holds gates CALLS=2 STEPS=1 HOGS=1
holds gates ENDS=1 GIVE_UPS=1 STEPS=1
holds gates EXTRA=1 STEPS=1 GIVE_UPS=1
holds gates ENTRIES=2 CALLS=1 SLEEPS=0 GIVE_UPS=1
fails gates NO_FENCE
fails gates NO_SECOND_TRY
fails gates NO_LOOK
fails gates COUNT_BLINDLY GIVE_UPS=1
fails gates ADMIT_FREELY EXTRA=1 STEPS=1
fails gates NO_DEPARTURE EXTRA=1
fails gates GATE_SKIPPED INSIDE=2 STEPS=1
fails gates GATE_LEFT GIVE_UPS=1
fails gates NO_EVENTS HOGS=1
fails gates CORNERED_EARLY CALLS=1
fails gates CLEARED_LATE CALLS=1
fails gates STEP_ENDS STEPS=1

holds groups
holds groups WORKERS=3 HOGS=2 READIES=1
fails groups NO_RECHECK
fails groups LOOK_FIRST
fails groups TURN_SHARED
fails groups STEP_FIRST
fails groups LOST_IF_EMPTY

holds turns
holds turns TURNS=2 THREADS=2 ENDLESS=0 STEPS=1 WAITS=0 WITHDRAWALS=0
holds turns THREADS=2 WORKERS=1
holds turns SECTIONS=3 WITHDRAWALS=0 WAITS=0
holds turns SECTIONS=3 TURNS=2 ENDLESS=0 STEPS=0 WAITS=0 WITHDRAWALS=0
fails turns NO_PRESS
fails turns PRESS_FIRST
fails turns CLEAR_LATE
fails turns NO_LINE
fails turns SLEEP_WITH_TURN
fails turns KEPT_AT_END
fails turns WITHDRAWN_TOO
fails turns STEP_ENDS SECTIONS=2
fails turns OVERTAKEN SECTIONS=2 ENDLESS=0 SLEEPS=0
