"""What every key of a policy file is for: one sentence each, its default, an example.

The JSON Schema shows it in editors, and `policies/README.md` as a table. Defaults are
taken from `defaults`, so that no text can disagree with what really holds. What may
stand under `defaults` is in `reference_settings`.
"""

from dataclasses import replace
from typing import Final

from trio_gateway.policy.format import defaults, model
from trio_gateway.policy.format.model import Section
from trio_gateway.policy.format.reference_key import Key, Table, mebibytes, seconds
from trio_gateway.policy.format.reference_settings import SETTINGS

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

TABLES: Final = (
    Table("", model.PolicySection, _POLICY),
    Table("gateway", model.GatewaySection, _GATEWAY),
    Table("providers.NAME", model.ProviderSection, _PROVIDER),
    Table("access_keys[]", model.AccessKeySection, _ACCESS_KEY),
    Table("models.SLUG", model.ModelSection, _MODEL),
    Table("models.SLUG.targets[]", model.TargetSection, _TARGET),
    *SETTINGS,
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
