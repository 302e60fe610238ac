"""What every key of a policy file is for: one sentence each, its default, an example.

The JSON Schema shows it in editors, and `policies/README.md` as a table. Defaults are
taken from `defaults`, so that no text can disagree with what really holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from trio_gateway.policy import defaults, model
from trio_gateway.policy.model import Section


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it does and why one would write it, in whole sentences."""

    what: str
    example: str  # as YAML, behind the colon
    default: str | None = None  # as YAML; None where nothing holds unless it is written


def seconds(value: float) -> str:
    """A duration as people write it."""
    return f"{value:g}s" if value >= 1 else f"{value * 1000:g}ms"


def mebibytes(value: int) -> str:
    """A size as people write it."""
    return f"{value / 1024**2:g}MiB"


def percent(value: float) -> str:
    """A share as people write it."""
    return f"{value * 100:g}%"


_POLICY: Final = {
    "version": Key("The format of the file; each file begins with it.", "1"),
    "gateway": Key("Bounds on the whole process.", "{max_in_flight: 4000}"),
    "providers": Key(
        "Vendors' endpoints by name, with our credentials there.",
        '{openai: {base_url: https://api.openai.com/v1, api_key: "${OPENAI_API_KEY}"}}',
    ),
    "access_keys": Key(
        "Who may ask. Without any, every request is refused.",
        '[{name: app, key: "${APP_KEY}"}]',
    ),
    "defaults": Key(
        "What holds for every model that does not say otherwise.",
        "{timeouts: {total: 120s}}",
    ),
    "models": Key(
        "What clients may ask for, by the name they use, and who answers.",
        "{chat: {targets: [{provider: openai, model: gpt-4o-mini}]}}",
    ),
}

_GATEWAY: Final = {
    "max_in_flight": Key(
        "So many requests at once; further ones get 503 before their body is read.",
        "4000",
        str(defaults.MAX_IN_FLIGHT),
    ),
    "max_body": Key(
        "The largest request body, which is held in memory; a larger one gets 413.",
        "50MiB",
        mebibytes(defaults.MAX_BODY_BYTES),
    ),
    "drain": Key(
        "How long open streams may go on after SIGTERM.",
        "60s",
        seconds(defaults.DRAIN_S),
    ),
}

_PROVIDER: Final = {
    "kind": Key(
        "The dialect; `openai` fits every OpenAI-compatible server.", "azure", "openai"
    ),
    "base_url": Key(
        "Where the API's paths begin. With kind azure, the resource alone.",
        "https://api.openai.com/v1",
    ),
    "api_key": Key(
        "Our credential there, always a reference, never the secret itself.",
        '"${OPENAI_API_KEY}"',
    ),
    "failure_domain": Key(
        "What fails together; the provider's name, unless several share machines.",
        "openai",
    ),
    "headers": Key(
        "Further header fields for every request to it.",
        "{OpenAI-Organization: org-1}",
    ),
    "max_concurrency": Key(
        "Requests at once to this provider; what is beyond it goes elsewhere.", "200"
    ),
    "proxy": Key("An HTTP proxy on the way there.", "http://proxy.internal:3128"),
    "ca_file": Key(
        "Certificates to trust instead of the system's, for internal servers.",
        "/etc/ssl/internal.pem",
    ),
    "api_version": Key(
        "Azure only: use the deployments' API in this version.", '"2025-01-01"'
    ),
    "circuit_breaker": Key(
        "When its targets count as broken, over what `defaults` says.",
        "{consecutive: 3}",
    ),
}

_ACCESS_KEY: Final = {
    "name": Key("Who this is, in logs and metrics.", "support-bot"),
    "org": Key("Whose requests these are, in logs and metrics.", "acme"),
    "project": Key("What they are for, in logs and metrics.", "support"),
    "key": Key(
        "The key, as a reference. Only its hash is kept. This or `sha256`.",
        '"${SUPPORT_BOT_KEY}"',
    ),
    "sha256": Key(
        "The key's hash, as `trio-gateway keys new` prints it.",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ),
    "models": Key("What it may use and see; all models, if unwritten.", "[chat]"),
    "expires": Key("From then on it is refused; UTC.", "2027-01-31"),
}

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

_MODEL: Final = {
    "name": Key("Its name in the catalog.", "GPT-4o mini"),
    "reasoning": Key(
        "The model thinks before it answers: unwritten limits before the first token "
        "grow.",
        "true",
        "false",
    ),
    "targets": Key(
        "Whom to ask, in order of preference; a list inside is a tier that shares.",
        "[{provider: openai, model: gpt-4o-mini}, {provider: azure-eu, model: mini}]",
    ),
    "context_length_fallback": Key(
        "Whom to ask when a prompt does not fit; no other failure leads here.",
        "[{provider: openai, model: gpt-4.1-mini}]",
    ),
}

_TARGET: Final = {
    "provider": Key("One of `providers`.", "openai"),
    "model": Key("The model's name there; on Azure the deployment's.", "gpt-4o-mini"),
    "weight": Key(
        "Its part of a tier's requests, while all in it are as quick.",
        "3",
        f"{defaults.WEIGHT:g}",
    ),
    "context_tokens": Key(
        "How long a prompt it reads; `check` then finds fallbacks that hold less.",
        "128000",
    ),
    "timeouts": Key(
        "The limits of one attempt, for this target alone.", "{first_token: 15s}"
    ),
    "max_concurrency": Key(
        "Requests at once to this target, besides the provider's limit.", "20"
    ),
    "circuit_breaker": Key(
        "When this target counts as broken, over what its provider says.",
        "{consecutive: 3}",
    ),
    "overrides": Key(
        "Request fields that this target always gets.", "{temperature: 0}"
    ),
}


@dataclass(frozen=True, slots=True)
class Table:
    """The keys of one section, and where it stands; a name in capitals is anybody's."""

    path: str
    section: type[Section]
    keys: Mapping[str, Key]


TABLES: Final = (
    Table("", model.PolicySection, _POLICY),
    Table("gateway", model.GatewaySection, _GATEWAY),
    Table("providers.NAME", model.ProviderSection, _PROVIDER),
    Table("access_keys[]", model.AccessKeySection, _ACCESS_KEY),
    Table("models.SLUG", model.ModelSection, _MODEL),
    Table("models.SLUG.targets[]", model.TargetSection, _TARGET),
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


def key_of(section: type[Section], name: str) -> Key:
    """What is said of a section's key, there or where the section has it from.

    A default that depends on where the section stands is left out.

    Raises:
        KeyError: nothing is said of it.
    """
    for ancestor in section.__mro__:
        keys = [
            t.keys[name] for t in TABLES if t.section is ancestor and name in t.keys
        ]
        if len(keys) == 1:
            return keys[0]
        if keys:
            return replace(keys[0], default=None)
    raise KeyError(f"{section.__name__}.{name}")
