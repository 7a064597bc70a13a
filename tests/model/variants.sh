# shellcheck shell=sh
# What run.sh checks: `holds` or `fails`, the model, and the names that choose the variant of it. The heads of
# the models say what each name means. The longest first: they run in parallel.

holds commit SCENARIO=5
holds commit SCENARIO=4
holds quiet BUDGET=3
holds parking WORKERS=3 PRODUCERS=1 INJECTIONS=2 READIES=0 HOGS=0
holds commit SCENARIO=7
holds commit SCENARIO=3
holds commit SCENARIO=6
holds commit SCENARIO=1
holds commit SCENARIO=2
fails commit NO_ORDER SCENARIO=1
fails commit ONE_BY_ONE SCENARIO=1
fails commit NO_TOKEN SCENARIO=1
fails commit COMMIT_FIRST SCENARIO=1
fails commit SELF_MATCH SCENARIO=2
fails commit FIRE_BLINDLY SCENARIO=3
fails commit NO_LOOK SCENARIO=5
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
fails quiet COUNT_LATE BUDGET=3

holds monitor
fails monitor NO_RECHECK
fails monitor NO_RING
fails monitor ENTER_SILENTLY
fails monitor RISE_BLINDLY
