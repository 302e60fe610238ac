"""Which class of failure an upstream's error is: one table for all that speak OpenAI's.

An error's codes say more than its status, and its status more than its text, so they
are asked in that order. Texts are only searched where providers are known to give no
code. What no row knows is judged by its status alone.
"""

import re
from collections.abc import Mapping
from typing import Final

from trio_gateway.failover.failures import FailureClass
from trio_gateway.providers.said import Said

_QUOTA: Final = frozenset(
    {
        "insufficient_quota",  # OpenAI, and many after it
        "credit_balance_exhausted",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "enforced_spend_limit_reached",  # Anthropic
        "billing_error",
        "exceeded_current_quota_error",  # Moonshot
        "servicequotaexceededexception",  # Bedrock
    }
)
_QUOTA_ENDS: Final = ("_spend_limit_exceeded",)  # an organization's, a project's
_AUTH: Final = frozenset(
    {
        "invalid_api_key",
        "api_key_invalid",  # Gemini, in a 400
        "account_deactivated",
    }
)
_NOT_FOUND: Final = frozenset(
    {
        "model_not_found",
        "deploymentnotfound",  # Azure
        "operationnotsupported",  # Azure: a deployment of a model that cannot chat
        "unknown_model",  # Mistral
        "invalid_model",
        "model_decommissioned",  # Groq
        "model_not_available",  # Together
    }
)
_OVERLOADED: Final = frozenset(
    {
        "slow_down",  # OpenAI: too steep a rise, whatever our limits
        "server_is_overloaded",
        "engine_overloaded",
        "engine_overloaded_error",  # Moonshot
        "overloaded_error",  # Anthropic
        "capacity_exceeded",  # Groq
        "no_capacity",
        "nocapacity",  # Azure
        "modelnotreadyexception",  # Bedrock
    }
)
_CONTEXT: Final = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",  # llama.cpp
        "string_above_max_length",
        "string_too_long",  # OpenRouter's name for it
        "token_limit_exceeded",  # OpenRouter
        "model_max_prompt_tokens_exceeded",  # GitHub
    }
)
_CONTENT: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",  # Azure, in the inner error
        "data_inspection_failed",  # Alibaba
        "moderation_blocked",
        "refusal",  # OpenRouter
    }
)

_OVERLOADED_TEXT: Final = re.compile(
    r"overloaded|high demand|slow down|too busy|server busy|shared capacity"
    r"|\b(?:at|over|no|insufficient|system|exceeded?|out of) capacity"
    # Vertex: everybody's capacity. A quota of ours "has been exhausted".
    r"|resource exhausted"
)
# Azure's API management, with a 403, for so many calls or tokens a day.
_QUOTA_TEXT: Final = re.compile(r"\bout of .{0,40}\bquota\b")
_CONTEXT_TEXT: Final = re.compile(
    r"maximum (?:context|prompt|model|input) length|max(?:imum)? sequence length"
    r"|context[ _](?:length|window|size)"
    r"|(?:prompt|input|messages?|request) (?:is|are) too long"
    r"|input token count .{0,40}exceeds|exceeded model token limit"
    r"|reduce the length of (?:the|your) (?:messages|prompt|input)"
)
_CONTENT_TEXT: Final = re.compile(
    r"content management policy|content filter|content policy|content exists risk"
    r"|usage polic(?:y|ies)|flagged (?:as|by|for)|safety system|requires moderation"
)
_NOT_FOUND_TEXT: Final = re.compile(
    r"not a valid model|invalid model name|model .{0,100}(?:does not exist|not found)"
)
_AUTH_TEXT: Final = re.compile(r"api key not valid|(?:invalid|incorrect) api key")
_REFUSAL_TEXTS: Final = (
    (_CONTEXT_TEXT, FailureClass.CONTEXT_LENGTH),
    (_CONTENT_TEXT, FailureClass.CONTENT_FILTER),
    (_NOT_FOUND_TEXT, FailureClass.NOT_FOUND),
    (_AUTH_TEXT, FailureClass.AUTH),
)
_PER_DAY: Final = "perday"  # in the name of a quota of Google's

# What an error inside a 200 means, where it has a type but names no status.
_BY_WORD: Final[Mapping[str, FailureClass]] = {
    "rate_limit_error": FailureClass.RATE_LIMIT,
    "rate_limit_exceeded": FailureClass.RATE_LIMIT,
    "resource_exhausted": FailureClass.RATE_LIMIT,
    "throttlingexception": FailureClass.RATE_LIMIT,
    "authentication_error": FailureClass.AUTH,
    "permission_error": FailureClass.AUTH,
    "permission_denied": FailureClass.AUTH,
    "unauthenticated": FailureClass.AUTH,
    "accessdeniedexception": FailureClass.AUTH,
    "not_found_error": FailureClass.NOT_FOUND,
    "invalid_request_error": FailureClass.CLIENT_ERROR,
    "invalid_argument": FailureClass.CLIENT_ERROR,
    "validationexception": FailureClass.CLIENT_ERROR,
    "badrequesterror": FailureClass.CLIENT_ERROR,
}

_BY_STATUS: Final[Mapping[int, FailureClass]] = {
    401: FailureClass.AUTH,
    402: FailureClass.QUOTA,
    403: FailureClass.AUTH,
    404: FailureClass.NOT_FOUND,
    405: FailureClass.NOT_FOUND,
    408: FailureClass.SERVER_ERROR,
    409: FailureClass.SERVER_ERROR,  # a conflict with another request: try again
    410: FailureClass.NOT_FOUND,  # a model that was retired
    424: FailureClass.SERVER_ERROR,  # Bedrock's model broke, Groq's dependency
    429: FailureClass.RATE_LIMIT,
    498: FailureClass.OVERLOADED,  # Groq's flexible tier
    529: FailureClass.OVERLOADED,  # Anthropic
}

# A refused prompt comes with one of these; content with 403 and 451 as well.
_REFUSALS: Final = (None, 400, 413, 422)
_MODERATION: Final = re.compile(r"moderation|flagged")


def classify(status: int | None, said: Said) -> FailureClass:
    """Return the class of an error. `status` is None where nothing names one."""
    if status is not None and not 400 <= status <= 599:
        return FailureClass.BAD_ANSWER  # a redirect, or something stranger
    if status == 401:
        return FailureClass.AUTH
    kind = _by_code(status, said) or _by_text(status, said)
    # Groq says 413 to what needs more tokens than it allows in a minute.
    if kind is None and status in (None, 413):
        kind = next((k for word, k in _BY_WORD.items() if word in said.words), None)
    return kind or _by_status(status)


def _by_code(status: int | None, said: Said) -> FailureClass | None:
    if said.words & _QUOTA or any(
        word.endswith(_QUOTA_ENDS) or _PER_DAY in word for word in said.words
    ):
        return FailureClass.QUOTA
    if said.words & _OVERLOADED:
        return FailureClass.OVERLOADED
    if status is not None and status >= 500:
        return None  # whatever it names then, it does not blame the request
    if said.words & _CONTEXT:
        return FailureClass.CONTEXT_LENGTH
    if said.words & _CONTENT or said.is_moderation:
        return FailureClass.CONTENT_FILTER
    if said.words & _NOT_FOUND:
        return FailureClass.NOT_FOUND
    return FailureClass.AUTH if said.words & _AUTH else None


def _by_text(status: int | None, said: Said) -> FailureClass | None:
    if status in (None, 429, 503) and _OVERLOADED_TEXT.search(said.text):
        return FailureClass.OVERLOADED
    if status in (403, 429) and _QUOTA_TEXT.search(said.text):
        return FailureClass.QUOTA
    if status in _REFUSALS:
        for pattern, kind in _REFUSAL_TEXTS:
            if pattern.search(said.text):
                return kind
    # Most 403 are about our credential. So is a text about policies there: an account
    # that was blocked.
    if status in (403, 451) and _MODERATION.search(said.text):
        return FailureClass.CONTENT_FILTER
    return None


def _by_status(status: int | None) -> FailureClass:
    if status is None:
        return FailureClass.SERVER_ERROR
    fallback = FailureClass.CLIENT_ERROR if status < 500 else FailureClass.SERVER_ERROR
    return _BY_STATUS.get(status, fallback)
