"""What every setting of a model is for, which may stand under `defaults`, too.

It is a part of `reference`.
"""

from typing import Final

from trio_gateway.policy.format import defaults, model
from trio_gateway.policy.format.reference_key import Key, Table, percent, seconds

_SETTINGS: Final = {
    "commit": Key(
        "How much of an answer must be there before the client gets any of it, and "
        "nothing else is tried.",
        "{tokens: 20}",
        "first_token",
    ),
    "attempts": Key("How often to try.", "{max: 4}"),
    "timeouts": Key(
        "How long to wait. What is written is a ceiling; the rest adapts.",
        "{total: 120s}",
    ),
    "retry": Key(
        "How long to wait before the same target is tried again.",
        "{backoff: {initial: 1s}}",
    ),
    "fallback_on": Key(
        "Which failures move on to the next target.",
        "[connect, timeout, server_error, 429]",
        "default",
    ),
    "max_cost_multiplier": Key(
        "What all attempts of one request for speed may cost, in prices of one.",
        "3",
        f"{defaults.MAX_COST_MULTIPLIER:g}",
    ),
    "overlap": Key(
        "Start the next target beside one that is past its soft limit.",
        "off",
        "on" if defaults.IS_OVERLAP_ON else "off",
    ),
    "hedge": Key(
        "Start a second attempt before the first is late, by what is usual for it.",
        "{quantile: 0.95, max_extra: 5%}",
        "off",
    ),
    "queue": Key(
        "Waiting in line for a target that has all the requests it may have.",
        "{max_wait: 10s}",
    ),
}

_DEFAULTS: Final = {
    "circuit_breaker": Key(
        "When a target counts as broken and is asked last.", "{consecutive: 3}"
    ),
}

_ATTEMPTS: Final = {
    "max": Key(
        "All attempts of one request; more only delay the error of an outage.",
        "4",
        str(defaults.ATTEMPTS_MAX),
    ),
    "same_target": Key(
        "How often a target is tried again before the next one; auto is once if it is "
        "the only one, else never.",
        "1",
        str(defaults.SAME_TARGET),
    ),
}

_ATTEMPT_TIMEOUTS: Final = {
    "connect": Key("DNS, TCP and TLS together.", "3s", seconds(defaults.CONNECT_S)),
    "first_token": Key(
        "A stream's first token. A duration in its place is the hard limit alone.",
        "{soft: 4s, hard: 15s}",
    ),
    "answer": Key(
        "A whole answer that is not streamed. A duration is the hard limit alone.",
        "{soft: 30s, hard: 90s}",
    ),
    "idle": Key(
        "Silence between two pieces of content.", "15s", seconds(defaults.IDLE_S)
    ),
}

_REQUEST_TIMEOUTS: Final = {
    "precommit": Key(
        "A stream until its commit point, all attempts together; proxies before us "
        "allow 60 s of silence.",
        "30s",
        seconds(defaults.PRECOMMIT_S),
    ),
    "total": Key(
        "The whole request; official clients wait as long.",
        "120s",
        seconds(defaults.TOTAL_S),
    ),
    "client_stall": Key(
        "A client that reads nothing of what is there for it.",
        "60s",
        seconds(defaults.CLIENT_STALL_S),
    ),
}

_FIRST_TOKEN: Final = {
    "soft": Key(
        "Past it, the next target is started beside this one.",
        "4s",
        seconds(defaults.FIRST_TOKEN_SOFT_S),
    ),
    "hard": Key(
        "Past it, the attempt is given up.", "15s", seconds(defaults.FIRST_TOKEN_HARD_S)
    ),
}

_ANSWER: Final = {
    "soft": Key(_FIRST_TOKEN["soft"].what, "30s", seconds(defaults.ANSWER_SOFT_S)),
    "hard": Key(_FIRST_TOKEN["hard"].what, "90s", seconds(defaults.ANSWER_HARD_S)),
}

_RETRY: Final = {
    "backoff": Key("Our own wait, doubled each time.", "{initial: 1s, max: 10s}"),
    "retry_after": Key(
        "What to make of a target's hint when to come back.",
        "{prefer: wait, max_wait: 10s}",
    ),
}

_BACKOFF: Final = {
    "initial": Key(
        "The first wait: what a dropped connection needs.",
        "1s",
        seconds(defaults.BACKOFF_INITIAL_S),
    ),
    "max": Key("The longest wait.", "10s", seconds(defaults.BACKOFF_MAX_S)),
    "jitter": Key(
        "How waits are spread, so that a crowd does not come back together: over all "
        "of the wait, its upper half, or not.",
        "equal",
        defaults.JITTER,
    ),
}

_RETRY_AFTER: Final = {
    "prefer": Key(
        "Move on to the next target, or wait out a hint that is soon.",
        "wait",
        defaults.ON_HINT,
    ),
    "max_wait": Key(
        "How soon is soon; people should not wait longer.",
        "10s",
        seconds(defaults.HINT_WAIT_MAX_S),
    ),
    "cap": Key(
        "The longest that a hint is believed, for it is a stranger's number.",
        "600s",
        seconds(defaults.HINT_CAP_S),
    ),
}

_TOKENS: Final = {
    "tokens": Key("So many tokens are held until the client gets the first.", "20"),
}

_HEDGE: Final = {
    "quantile": Key(
        "The second attempt starts when the first is slower than this part of all.",
        "0.9",
        f"{defaults.HEDGE_QUANTILE:g}",
    ),
    "min_delay": Key(
        "The second attempt starts no sooner than this.",
        "500ms",
        seconds(defaults.HEDGE_MIN_DELAY_S),
    ),
    "max_extra": Key(
        "Attempts for speed are at most this part of all requests.",
        "10%",
        percent(defaults.HEDGE_MAX_EXTRA),
    ),
}

_QUEUE: Final = {
    "max": Key(
        "How many may wait for a target; more are refused at once.",
        "100",
        str(defaults.QUEUE_MAX),
    ),
    "max_wait": Key(
        "How long each may wait; the next target could have answered by then.",
        "10s",
        seconds(defaults.QUEUE_MAX_WAIT_S),
    ),
}

_BREAKER: Final = {
    "consecutive": Key(
        "So many failures in a row break a target.",
        "3",
        str(defaults.BREAKER_CONSECUTIVE),
    ),
    "share": Key(
        "Or so large a part of its requests failed, within `window`.",
        "30%",
        percent(defaults.BREAKER_SHARE),
    ),
    "window": Key(
        "The time in which `share` and `min_samples` are counted.",
        "60s",
        seconds(defaults.BREAKER_WINDOW_S),
    ),
    "min_samples": Key(
        "So many requests must be there for `share`; fewer are an anecdote.",
        "20",
        str(defaults.BREAKER_MIN_SAMPLES),
    ),
    "open": Key("How long it is left alone.", "{base: 2s, max: 10s}"),
}

_OPEN: Final = {
    "base": Key(
        "How long it is left alone at first; doubled while it stays broken.",
        "2s",
        seconds(defaults.BREAKER_OPEN_BASE_S),
    ),
    "max": Key(
        "The longest that it is left alone: so late may a recovery be noticed.",
        "10s",
        seconds(defaults.BREAKER_OPEN_MAX_S),
    ),
}

SETTINGS: Final = (
    Table("defaults", model.Settings, _SETTINGS),
    Table("defaults", model.DefaultsSection, _DEFAULTS),
    Table("defaults.commit", model.CommitTokens, _TOKENS),
    Table("defaults.attempts", model.AttemptsSection, _ATTEMPTS),
    Table("defaults.timeouts", model.TargetTimeouts, _ATTEMPT_TIMEOUTS),
    Table("defaults.timeouts", model.Timeouts, _REQUEST_TIMEOUTS),
    Table("defaults.timeouts.first_token", model.PatienceSection, _FIRST_TOKEN),
    Table("defaults.timeouts.answer", model.PatienceSection, _ANSWER),
    Table("defaults.retry", model.RetrySection, _RETRY),
    Table("defaults.retry.backoff", model.BackoffSection, _BACKOFF),
    Table("defaults.retry.retry_after", model.RetryAfterSection, _RETRY_AFTER),
    Table("defaults.hedge", model.HedgeSection, _HEDGE),
    Table("defaults.queue", model.QueueSection, _QUEUE),
    Table("defaults.circuit_breaker", model.BreakerSection, _BREAKER),
    Table("defaults.circuit_breaker.open", model.OpenSection, _OPEN),
)
"""In the order of the reference."""
