"""What real providers say when they fail: their statuses, bodies and header fields.

The shapes differ on purpose: nested as OpenAI has them, flat as Mistral, a bare string
as Ollama, HTML as the proxies in front of everybody. All are what those providers are
documented to send, or were seen to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Shape(Enum):
    """What an error's body looks like."""

    NESTED = "nested"  # {"error": {"message", "type", "param", "code"}}: OpenAI, Azure
    FLAT = "flat"  # the same without `error` around it: Mistral
    STRING = "string"  # {"error": "message"}: Ollama
    ANTHROPIC = "anthropic"  # {"type": "error", "error": {"type", "message"}}
    GOOGLE = "google"  # {"error": {"code", "message", "status"}}
    AZURE = "azure"  # {"error": {"code", "message"}}
    AMAZON = "amazon"  # {"message"}, and its type in a header field
    HTML = "html"  # a proxy's page


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """One error that some provider sends. `{model}` in its message is the asked one."""

    status: int
    message: str
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
    shape: Shape = Shape.NESTED
    extra: tuple[tuple[str, object], ...] = ()  # further members beside the message
    headers: tuple[tuple[str, str], ...] = ()


ERRORS: Final[Mapping[str, ErrorForm]] = {
    "bad_request": ErrorForm(
        400,
        "Invalid value for 'temperature': expected a number of at most 2.",
        "invalid_request_error",
        "invalid_value",
        "temperature",
    ),
    "context_length": ErrorForm(
        400,
        "This model's maximum context length is 128000 tokens. However, your messages "
        "resulted in 203117 tokens. Please reduce the length of the messages.",
        "invalid_request_error",
        "context_length_exceeded",
        "messages",
    ),
    "content_filter": ErrorForm(
        400,
        "The response was filtered due to the prompt triggering the content management "
        "policy. Please modify your prompt and retry.",
        None,
        "content_filter",
        "prompt",
        extra=(
            ("status", 400),
            ("innererror", {"code": "ResponsibleAIPolicyViolation"}),
        ),
    ),
    "auth": ErrorForm(
        401,
        "Incorrect API key provided.",
        "invalid_request_error",
        "invalid_api_key",
    ),
    "billing": ErrorForm(
        402, "Insufficient Balance", "unknown_error", "invalid_request_error"
    ),
    "forbidden": ErrorForm(
        403,
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    "not_found": ErrorForm(
        404,
        "The model `{model}` does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    "deployment": ErrorForm(
        404,
        "The API deployment for this resource does not exist.",
        None,
        "DeploymentNotFound",
    ),
    "timeout": ErrorForm(408, "Request timed out.", "timeout", None),
    "too_large": ErrorForm(
        413,
        "Request exceeds the maximum size",
        "request_too_large",
        shape=Shape.ANTHROPIC,
    ),
    "unprocessable": ErrorForm(
        422,
        "Input should be a valid list",
        "invalid_request_error",
        "invalid_request",
        "messages",
        shape=Shape.FLAT,
    ),
    "rate_limit": ErrorForm(
        429,
        "Rate limit reached for {model} in organization org-sim on requests per min "
        "(RPM): Limit 500, Used 500, Requested 1.",
        "requests",
        "rate_limit_exceeded",
    ),
    "quota": ErrorForm(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "spend_limit": ErrorForm(
        429,
        "You have reached your spend limit.",
        "rate_limit_error",
        shape=Shape.ANTHROPIC,
        extra=(("details", {"error_code": "enforced_spend_limit_reached"}),),
    ),
    "slow_down": ErrorForm(
        429,
        "Your traffic grows too fast. Please slow down and raise it gradually.",
        "requests",
        "slow_down",
    ),
    "google_quota": ErrorForm(
        429,
        "Resource has been exhausted (e.g. check quota).",
        "RESOURCE_EXHAUSTED",
        shape=Shape.GOOGLE,
    ),
    "capacity": ErrorForm(
        498, "Flex tier capacity exceeded.", "capacity_error", "capacity_exceeded"
    ),
    "server_error": ErrorForm(
        500,
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
    ),
    "flat": ErrorForm(
        500, "Service unavailable.", "internal_server_error", "3000", shape=Shape.FLAT
    ),
    "string": ErrorForm(500, "llama runner process has terminated", shape=Shape.STRING),
    "bad_gateway": ErrorForm(502, "Bad gateway", shape=Shape.HTML),
    "overloaded": ErrorForm(
        503,
        "The engine is currently overloaded, please try again later.",
        "server_error",
        "server_is_overloaded",
    ),
    "gateway_timeout": ErrorForm(504, "Gateway time-out", shape=Shape.HTML),
    "anthropic_overloaded": ErrorForm(
        529, "Overloaded", "overloaded_error", shape=Shape.ANTHROPIC
    ),
    # Further throttles, each in its provider's dialect.
    "groq_rate_limit": ErrorForm(
        429,
        "Rate limit reached for model `{model}` in organization `org_sim` service tier "
        "`on_demand` on tokens per minute (TPM): Limit 6000, Used 5950, Requested 579. "
        "Please try again in 5.289s.",
        "tokens",
        "rate_limit_exceeded",
        headers=(
            ("retry-after", "6"),
            ("x-ratelimit-limit-tokens", "6000"),
            ("x-ratelimit-remaining-tokens", "50"),
            ("x-ratelimit-reset-tokens", "5.289s"),
        ),
    ),
    "anthropic_rate_limit": ErrorForm(
        429,
        "This request would exceed your organization's rate limit of 50 requests per "
        "minute.",
        "rate_limit_error",
        shape=Shape.ANTHROPIC,
        headers=(
            ("retry-after", "7"),
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2025-10-09T08:53:27Z"),
        ),
    ),
    "azure_rate_limit": ErrorForm(
        429,
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have "
        "exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry "
        "after 6 seconds.",
        code="RateLimitReached",
        shape=Shape.AZURE,
        headers=(("retry-after", "6"), ("retry-after-ms", "6000")),
    ),
    "mistral_rate_limit": ErrorForm(
        429,
        "Requests rate limit exceeded",
        "rate_limited",
        "1300",
        shape=Shape.FLAT,
    ),
    "openrouter_rate_limit": ErrorForm(
        429,
        "Rate limit exceeded: free-models-per-min. ",
        code=429,
        shape=Shape.AZURE,
        extra=(("metadata", {"provider_name": "Simulated"}),),
        headers=(("x-ratelimit-limit", "20"), ("x-ratelimit-remaining", "0")),
    ),
    "vertex_exhausted": ErrorForm(
        429,
        "Resource exhausted. Please try again later.",
        "RESOURCE_EXHAUSTED",
        shape=Shape.GOOGLE,
    ),
    "google_daily_quota": ErrorForm(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "RESOURCE_EXHAUSTED",
        shape=Shape.GOOGLE,
        extra=(
            (
                "details",
                [
                    {
                        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                        "violations": [
                            {
                                "quotaId": "GenerateRequestsPerDayPerProjectPerModel",
                                "quotaValue": "250",
                            }
                        ],
                    }
                ],
            ),
        ),
    ),
    "bedrock_throttled": ErrorForm(
        429,
        "Too many requests, please wait before trying again.",
        shape=Shape.AMAZON,
        headers=(("x-amzn-errortype", "ThrottlingException"),),
    ),
    "bedrock_unavailable": ErrorForm(
        503,
        "Bedrock is unable to process your request.",
        shape=Shape.AMAZON,
        headers=(("x-amzn-errortype", "ServiceUnavailableException"),),
    ),
    "ollama_busy": ErrorForm(
        503,
        "server busy, please try again. maximum pending requests exceeded",
        shape=Shape.STRING,
    ),
    "openrouter_credits": ErrorForm(
        402,
        "Insufficient credits. Add more at the provider's own site.",
        code=402,
        shape=Shape.AZURE,
    ),
    # Azure's own words, for an Azure that answers with a bare status.
    "azure_auth": ErrorForm(
        401,
        "Access denied due to invalid subscription key or wrong API endpoint. Make "
        "sure to provide a valid key for an active subscription and use a correct "
        "regional API endpoint for your resource.",
        code="401",
        shape=Shape.AZURE,
    ),
    "azure_forbidden": ErrorForm(
        403,
        "Public access is disabled. Please configure private endpoint.",
        code="AccessDenied",
        shape=Shape.AZURE,
    ),
    "azure_path": ErrorForm(404, "Resource not found", code="404", shape=Shape.AZURE),
    "azure_error": ErrorForm(
        500,
        "The server had an error processing your request. Sorry about that!",
        code="InternalServerError",
        shape=Shape.AZURE,
    ),
    "azure_no_capacity": ErrorForm(
        503,
        "The service is temporarily unable to process your request. Please try again "
        "later.",
        code="NoCapacity",
        shape=Shape.AZURE,
    ),
    "azure_timeout": ErrorForm(
        408, "The operation was timeout.", code="Timeout", shape=Shape.AZURE
    ),
}

USUAL: Final[Mapping[int, str]] = {
    form.status: name for name, form in reversed(tuple(ERRORS.items()))
}
"""What a bare status means: the first of its errors."""

USUAL_AT_AZURE: Final[Mapping[int, str]] = {
    **USUAL,
    401: "azure_auth",
    403: "azure_forbidden",
    404: "deployment",
    408: "azure_timeout",
    429: "azure_rate_limit",
    500: "azure_error",
    503: "azure_no_capacity",
}
"""What a bare status means in Azure's dialect."""
