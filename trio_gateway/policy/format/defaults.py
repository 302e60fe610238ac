"""Every number that holds where a policy file is silent, with the reason for it.

An operator may tune each of these by the key of nearly the same name; the reference of
all keys is `policies/README.md`. Durations are seconds, sizes bytes, shares fractions.
"""

from typing import Final, Literal

# --- gateway: the whole process ---------------------------------------------------

# Each holds up to half a MiB (its body, its opening, what its client has not read yet):
# a machine with 2 GiB carries this many. Sooner refused than ended by the kernel.
MAX_IN_FLIGHT: Final = 2000

# A long conversation with a few inline images. Every body is held in memory until the
# commit point, for it may have to be sent again.
MAX_BODY_BYTES: Final = 20 * 1024 * 1024

# Long enough for most answers to end. It is also what Kubernetes waits before SIGKILL:
# who wants the last stream to end well gives it a few seconds more there.
DRAIN_S: Final = 30.0

# --- attempts ---------------------------------------------------------------------

# Three targets that fail at once are an outage, not bad luck; more tries only delay
# the error and load those who already suffer.
ATTEMPTS_MAX: Final = 3

# No policy may ask for more tries than this: with a client that itself retries twice,
# five are already fifteen requests for one question.
ATTEMPTS_CEILING: Final = 5

# `same_target: auto`: one retry when exactly one target is eligible, else move on at
# once, because another target is likelier to answer than the one that just failed.
SAME_TARGET: Final[int | Literal["auto"]] = "auto"

# --- timeouts ---------------------------------------------------------------------

# DNS, TCP and TLS together. A healthy handshake across a continent takes 0.3 s, and
# official clients wait 5 s, which would leave no room for a failover.
CONNECT_S: Final = 2.0

# Probes of nine models that do not reason (modelstats.ai, 2026) saw 99th percentiles of
# the time to a first token of 1.3 to 4.8 s; long prompts add a second per 50k tokens.
FIRST_TOKEN_SOFT_S: Final = 8.0

# Nearly twice the slowest answer of all those probes, 11.6 s: past it, nothing comes.
FIRST_TOKEN_HARD_S: Final = 20.0

# `reasoning: true`: such models think, silently, for tens of seconds.
REASONING_FIRST_TOKEN_SOFT_S: Final = 30.0
REASONING_FIRST_TOKEN_HARD_S: Final = 120.0

# A thousand tokens at a slow 20 a second take 50 s. The hard limit is twice the soft.
ANSWER_SOFT_S: Final = 60.0
ANSWER_HARD_S: Final = 120.0

# Ten times the 99th percentile of the gap between two tokens, at least 15 s: slow
# models pause, dead ones do not come back.
IDLE_S: Final = 30.0

# Proxies and load balancers on the way to the client give up after 60 s of silence;
# our own answer must come before theirs.
PRECOMMIT_S: Final = 45.0

# A reasoning model's one hard limit, and a second target's fair chance after it. Those
# who use such models have raised the limits of their proxies.
REASONING_PRECOMMIT_S: Final = 150.0

# What official clients wait for an answer, before they hang up themselves.
TOTAL_S: Final = 600.0

# A reader that takes nothing for this long has gone without saying so, or is stuck;
# meanwhile it holds a slot at the provider.
CLIENT_STALL_S: Final = 30.0

# --- retry ------------------------------------------------------------------------

# The first wait before the same target is tried again; doubled each time. A dropped
# connection or a restarting replica is usually back by then.
BACKOFF_INITIAL_S: Final = 0.25

# No longer than the official clients' own longest wait.
BACKOFF_MAX_S: Final = 8.0

# `jitter: full`: a wait between nothing and the whole backoff spreads a crowd of
# retries best; what the others save in waiting they lose in collisions.
JITTER: Final = "full"

# `prefer: fallback`: a throttled target has said "not now"; the next one has not.
ON_HINT: Final = "fallback"

# The longest that a client is kept waiting for a target's "come back in ..." inside
# one request. Longer ones are better told to the client.
HINT_WAIT_MAX_S: Final = 5.0

# A hint is a stranger's number: an hour's `retry-after`, honoured, would be an outage
# of our own making. Five minutes is also what linkerd believes at most.
HINT_CAP_S: Final = 300.0

# --- extra attempts and waiting ---------------------------------------------------

# All attempts of one request that were sent only for speed may together cost at most
# this many times one attempt. Failover after a failure is never bounded by it.
MAX_COST_MULTIPLIER: Final = 2.0

# A target past its soft limit may still answer; starting the next beside it, without
# giving it up, costs 1 % more attempts when all is well (simulated, from the probes
# above) and halves the wait when the first target is a black hole.
IS_OVERLAP_ON: Final = True

# `hedge: off`: a second attempt before anything is late costs money on good days. These
# hold for those who switch it on: the slowest 5 % are hedged, never sooner than 250 ms,
# and never more than 5 % of all requests.
HEDGE_QUANTILE: Final = 0.95
HEDGE_MIN_DELAY_S: Final = 0.25
HEDGE_MAX_EXTRA: Final = 0.05

# A wait for a slot longer than 2 s is felt, and the next target could have answered.
# A queue longer than 1000 would not empty within that time anyway.
QUEUE_MAX: Final = 1000
QUEUE_MAX_WAIT_S: Final = 2.0

# --- circuit_breaker --------------------------------------------------------------

# Five failures in a row happen by chance once in three million requests at 5 % errors.
BREAKER_CONSECUTIVE: Final = 5

# Half of what was sent in the window failed, and at least ten requests say so: fewer
# are an anecdote. Hystrix and linkerd chose the same window.
BREAKER_SHARE: Final = 0.5
BREAKER_WINDOW_S: Final = 10.0
BREAKER_MIN_SAMPLES: Final = 10

# How long it is left alone at first, and at most, doubling in between. The most is how
# late we may be to notice that an outage has ended.
BREAKER_OPEN_BASE_S: Final = 5.0
BREAKER_OPEN_MAX_S: Final = 30.0

# --- targets ----------------------------------------------------------------------

# Inside a tier all are equal until weights say otherwise.
WEIGHT: Final = 1.0
