"""Every row of `PROVIDERS` against what providers are known to answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.failover.failures import Failure, FailureClass, UpstreamError
from trio_gateway.policy.route import (
    Account,
    BreakerRules,
    Patience,
    ProviderKind,
    Secret,
    Target,
    Timeouts,
)
from trio_gateway.providers.base import Provider
from trio_gateway.providers.table import PROVIDERS, provider_for

SERVER_ERROR = FailureClass.SERVER_ERROR
OVERLOADED = FailureClass.OVERLOADED
RATE_LIMIT = FailureClass.RATE_LIMIT
QUOTA = FailureClass.QUOTA
AUTH = FailureClass.AUTH
NOT_FOUND = FailureClass.NOT_FOUND
BAD_ANSWER = FailureClass.BAD_ANSWER
CLIENT_ERROR = FailureClass.CLIENT_ERROR
CONTEXT = FailureClass.CONTEXT_LENGTH
CONTENT = FailureClass.CONTENT_FILTER

KEY = "sk-secret"
GOOGLE = "type.googleapis.com/google.rpc"


def an_account(
    kind: ProviderKind,
    *,
    key: str | None = KEY,
    api_version: str | None = None,
) -> Account:
    return Account(
        name="p",
        kind=kind,
        base_url="https://example.com",
        api_key=Secret(key) if key else None,
        failure_domain="p",
        api_version=api_version,
    )


def a_target(account: Account, model: str = "m") -> Target:
    patience = Patience(1.0, 2.0)
    return Target(
        id=f"p/{model}",
        account=account,
        model=model,
        timeouts=Timeouts(1.0, patience, patience, 1.0, 1.0, 1.0, 1.0),
        breaker=BreakerRules(5, 0.5, 10.0, 20, 5.0, 30.0),
    )


@pytest.fixture(params=PROVIDERS.values(), ids=list(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> Provider:
    row: Provider = request.param
    return row


def read(
    provider: Provider,
    status: int,
    said: object,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> Failure:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return provider.read_error(status, headers or [], body, wall_now=1e9)


def openai(message: str = "", code: object = None, kind: str | None = None) -> object:
    return {"error": {"message": message, "code": code, "type": kind, "param": None}}


def google(status: int, name: str, message: str, *details: object) -> object:
    error = {"code": status, "message": message, "status": name, "details": details}
    return [{"error": error}]


def google_quota(quota: str) -> object:
    violation = {"quotaMetric": "generate_content_requests", "quotaId": quota}
    return {"@type": f"{GOOGLE}.QuotaFailure", "violations": [violation]}


ERRORS: list[tuple[str, int, object, FailureClass]] = [
    # OpenAI
    ("rate limit", 429, openai("Rate limit reached for m on tokens per min (TPM): "
     "Limit 200000.", "rate_limit_exceeded", "tokens"), RATE_LIMIT),
    ("quota", 429, openai("You exceeded your current quota, please check your plan",
     "insufficient_quota", "insufficient_quota"), QUOTA),
    ("credit", 429,
     openai("", "credit_balance_exhausted", "insufficient_quota"), QUOTA),
    ("project's spend", 429, openai("", "project_spend_limit_exceeded"), QUOTA),
    ("organization's spend", 429,
     openai("", "organization_spend_limit_exceeded"), QUOTA),
    ("organization's usage", 429,
     openai("", "organization_usage_limit_exceeded"), QUOTA),
    ("slow down", 429, openai("", "slow_down"), OVERLOADED),
    ("slow down, older", 503, openai("Slow Down", None, "slow_down"), OVERLOADED),
    ("overloaded", 503, openai("", "server_is_overloaded"), OVERLOADED),
    ("overloaded in words", 503, openai("The engine is currently overloaded, please "
     "try again later", None, "server_error"), OVERLOADED),
    ("server error", 500, openai("The server had an error", None, "server_error"),
     SERVER_ERROR),
    ("wrong key", 401, openai("Incorrect API key provided: sk-s***",
     "invalid_api_key", "invalid_request_error"), AUTH),
    ("region", 403, openai("Country, region, or territory not supported",
     "unsupported_country_region_territory", "request_forbidden"), AUTH),
    ("no model", 404, openai("The model `x` does not exist or you do not have access",
     "model_not_found", "invalid_request_error"), NOT_FOUND),
    ("no model, 400", 400, openai("invalid model ID", "model_not_found"), NOT_FOUND),
    ("no access to model", 403, openai("Project `p` does not have access to model `x`",
     "model_not_found", "invalid_request_error"), NOT_FOUND),
    ("context", 400, openai("This model's maximum context length is 8192 tokens.",
     "context_length_exceeded", "invalid_request_error"), CONTEXT),
    ("string too long", 400, openai("Invalid 'messages[0].content': string too long.",
     "string_above_max_length", "invalid_request_error"), CONTEXT),
    ("content", 400, openai("", "content_policy_violation"), CONTENT),
    ("usage policy", 400, openai("Invalid prompt: your prompt was flagged as "
     "potentially violating our usage policy.", "invalid_prompt"), CONTENT),
    ("bad parameter", 400, openai("Unsupported value: 'temperature'",
     "unsupported_value", "invalid_request_error"), CLIENT_ERROR),
    ("too many tokens asked", 400, openai("max_tokens is too large: 100000. This model "
     "supports at most 16384 completion tokens", None), CLIENT_ERROR),
    ("conflict", 409, openai("", None, "conflict_error"), SERVER_ERROR),
    # Azure
    ("azure rate", 429, {"error": {"code": "429", "message": "Requests to the "
     "ChatCompletions_Create Operation have exceeded token rate limit of your current "
     "OpenAI S0 pricing tier. Please retry after 20 seconds."}}, RATE_LIMIT),
    ("azure capacity", 429, openai("The system is currently experiencing high demand "
     "and cannot process your request.", "RateLimitReached"), OVERLOADED),
    ("azure no capacity", 429, openai("", "NoCapacity"), OVERLOADED),
    ("azure filter", 400, {"error": {"code": "content_filter", "status": 400, "message":
     "The response was filtered", "innererror": {
         "code": "ResponsibleAIPolicyViolation"}}}, CONTENT),
    ("azure inner filter", 400, {"error": {"code": None, "message": "", "innererror": {
         "code": "ResponsibleAIPolicyViolation"}}}, CONTENT),
    ("azure deployment", 404, openai("The API deployment for this resource does not "
     "exist.", "DeploymentNotFound"), NOT_FOUND),
    ("azure path", 404, {"error": {"code": "404", "message": "Resource not found"}},
     NOT_FOUND),
    ("azure operation", 400, openai("The chatCompletion operation does not work with "
     "the specified model", "OperationNotSupported"), NOT_FOUND),
    ("azure key", 401, {"statusCode": 401, "message": "Access denied due to invalid "
     "subscription key"}, AUTH),
    ("azure's gateway counts", 403, {"statusCode": 403, "message": "Out of call volume"
     " quota. Quota will be replenished in 12:11:10."}, QUOTA),
    ("azure blocked us", 403,
     openai("Your resource has been temporarily blocked because "
     "we detected behavior that may violate our content policy.", "Forbidden"), AUTH),
    # Anthropic
    ("anthropic overloaded", 529, {"type": "error", "error": {
        "type": "overloaded_error", "message": "Overloaded"}}, OVERLOADED),
    ("anthropic rate", 429, {"type": "error", "error": {"type": "rate_limit_error",
     "message": "This request would exceed your rate limit"}}, RATE_LIMIT),
    ("anthropic spend", 429, {"type": "error", "error": {"type": "rate_limit_error",
     "message": "", "details": {"error_code": "enforced_spend_limit_reached"}}}, QUOTA),
    ("anthropic billing", 402, openai("", None, "billing_error"), QUOTA),
    ("anthropic too long", 400, openai("prompt is too long: 210000 tokens > 200000 "
     "maximum", None, "invalid_request_error"), CONTEXT),
    ("anthropic too large", 413, openai("Request exceeds the maximum size", None,
     "request_too_large"), CLIENT_ERROR),
    ("anthropic filter", 400, openai("Output blocked by content filtering policy", None,
     "invalid_request_error"), CONTENT),
    # Google
    ("gemini per day", 429,
     google(429, "RESOURCE_EXHAUSTED", "Over your current "
     "quota", google_quota("GenerateRequestsPerDayPerProject-FreeTier")), QUOTA),
    ("gemini per minute", 429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your "
     "current quota", google_quota("GenerateRequestsPerMinutePerProject")), RATE_LIMIT),
    ("gemini exhausted", 429, google(429, "RESOURCE_EXHAUSTED",
     "Resource has been exhausted (e.g. check quota)."), RATE_LIMIT),
    ("vertex shared", 429, google(429, "RESOURCE_EXHAUSTED",
     "Resource exhausted. Please try again later."), OVERLOADED),
    ("gemini overloaded", 503, google(503, "UNAVAILABLE", "The model is overloaded."),
     OVERLOADED),
    ("gemini unavailable", 503, google(503, "UNAVAILABLE", "Service unavailable"),
     SERVER_ERROR),
    ("gemini too long", 400, google(400, "INVALID_ARGUMENT", "The input token count "
     "(1200000) exceeds the maximum number of tokens allowed (1048576)."), CONTEXT),
    ("gemini key", 400, google(400, "INVALID_ARGUMENT", "API key not valid.",
     {"@type": f"{GOOGLE}.ErrorInfo", "reason": "API_KEY_INVALID"}), AUTH),
    ("gemini argument", 400, google(400, "INVALID_ARGUMENT", "Invalid value"),
     CLIENT_ERROR),
    # Others
    ("bedrock throttling", 429, {"message": "Too many requests",
     "__type": "ThrottlingException"}, RATE_LIMIT),
    ("bedrock not ready", 429, {"message": "",
     "__type": "com.amazon#ModelNotReadyException:http://x"}, OVERLOADED),
    ("bedrock quota", 400, {"__type": "ServiceQuotaExceededException"}, QUOTA),
    ("bedrock too long", 400, {"message": "Input is too long for requested model."},
     CONTEXT),
    ("bedrock stream", 424, {"__type": "ModelStreamErrorException"}, SERVER_ERROR),
    ("bedrock timeout", 408, {"__type": "ModelTimeoutException"}, SERVER_ERROR),
    ("mistral model", 400, {"object": "error", "message": "Invalid model: x",
     "type": "invalid_model", "param": None, "code": "1500"}, NOT_FOUND),
    ("mistral too long", 400, {"object": "error", "message": "Prompt contains 40000 "
     "tokens, too large for model with 32768 maximum context length"}, CONTEXT),
    ("mistral validation", 422, {"object": "error", "message": {"detail": [
        {"type": "missing", "loc": ["body", "messages"], "msg": "Field required"}]}},
     CLIENT_ERROR),
    ("groq flex", 498, openai("", "capacity_exceeded"), OVERLOADED),
    ("groq dependency", 424, openai(""), SERVER_ERROR),
    ("groq too large a minute", 413, openai("Request too large for model on tokens per "
     "minute (TPM)", "rate_limit_exceeded", "tokens"), RATE_LIMIT),
    ("groq retired", 400, openai("", "model_decommissioned"), NOT_FOUND),
    ("deepseek balance", 402, openai("Insufficient Balance", "invalid_request_error"),
     QUOTA),
    ("deepseek content", 400, openai("Content Exists Risk"), CONTENT),
    ("openrouter credits", 402, openai("Insufficient credits", 402), QUOTA),
    ("openrouter moderation", 403, {"error": {"code": 403, "message": "Forbidden",
     "metadata": {"reasons": ["violence"], "flagged_input": "..."}}}, CONTENT),
    ("openrouter key", 403, openai("Key limit exceeded", 403), AUTH),
    ("openrouter model", 400, openai("x/y is not a valid model ID", 400), NOT_FOUND),
    ("openrouter raw", 400,
     {"error": {"code": 400, "message": "Provider returned error",
     "metadata": {"raw": "prompt is too long: 5 tokens"}}}, CONTEXT),
    ("openrouter down", 502, openai("Provider returned error", 502), SERVER_ERROR),
    ("vllm too long", 400,
     {"object": "error", "message": "This model's maximum context "
     "length is 4096 tokens.", "type": "BadRequestError", "code": 400}, CONTEXT),
    ("llama.cpp too long", 400, {"error": {"code": 400, "message": "",
     "type": "exceed_context_size_error"}}, CONTEXT),
    ("ollama model", 404, {"error": "model 'x' not found"}, NOT_FOUND),
    ("ollama busy", 503, {"error": "server busy, please try again."}, OVERLOADED),
    ("fastapi", 422,
     {"detail": [{"msg": "Field required", "input": "x"}]}, CLIENT_ERROR),
    ("spring", 404, {"status": 404, "error": "Not Found", "path": "/"}, NOT_FOUND),
    ("xai too long", 400, {"code": "Client specified an invalid argument", "error":
     "This model's maximum prompt length is 131072 but it has 200000"}, CONTEXT),
    # Nothing to go by
    ("html", 502, b"<html>Bad Gateway</html>", SERVER_ERROR),
    ("text", 503, b"upstream connect error or disconnect", SERVER_ERROR),
    ("empty", 429, b"", RATE_LIMIT),
    ("an overloaded 500", 500, openai("We are overloaded"), SERVER_ERROR),
    ("a blaming 500", 500, openai("", "context_length_exceeded"), SERVER_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [case[1:] for case in ERRORS],
    ids=[case[0] for case in ERRORS],
)
def test_what_providers_answer_has_its_class(
    provider: Provider, status: int, said: object, kind: FailureClass
) -> None:
    failure = read(provider, status, said)
    assert failure.kind is kind
    assert failure.status == status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, BAD_ANSWER) for status in (100, 204, 301, 302, 307, 600, 999)),
        *(
            (status, CLIENT_ERROR)
            for status in (400, 406, 411, 413, 415, 418, 422, 431)
        ),
        *(
            (status, SERVER_ERROR)
            for status in (408, 409, 424, 500, 501, 502, 503, 504)
        ),
        *((status, SERVER_ERROR) for status in (505, 520, 521, 522, 524, 530, 599)),
        *((status, OVERLOADED) for status in (498, 529)),
        *((status, NOT_FOUND) for status in (404, 405, 410)),
        *((status, AUTH) for status in (401, 403)),
        (402, QUOTA),
        (429, RATE_LIMIT),
    ],
)
def test_every_status_has_a_class_by_itself(
    provider: Provider, status: int, kind: FailureClass
) -> None:
    assert read(provider, status, b"").kind is kind
    assert read(provider, status, b"<html>").kind is kind


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"code": 429, "message": "slow"}, RATE_LIMIT, 429),
        ({"code": "502", "message": "Provider error"}, SERVER_ERROR, 502),
        ({"code": 401, "message": "no"}, AUTH, 401),
        ({"code": 400, "message": "prompt is too long"}, CONTEXT, 400),
        ({"type": "overloaded_error", "message": "Overloaded"}, OVERLOADED, None),
        ({"type": "rate_limit_error"}, RATE_LIMIT, None),
        ({"code": "rate_limit_exceeded", "type": "tokens"}, RATE_LIMIT, None),
        ({"code": "insufficient_quota"}, QUOTA, None),
        ({"type": "invalid_request_error", "message": "no"}, CLIENT_ERROR, 400),
        ({"code": "content_filter", "message": "no"}, CONTENT, 400),
        ({"type": "server_error"}, SERVER_ERROR, None),
        ({"message": "The engine is overloaded"}, OVERLOADED, None),
        ({"error": {"code": 503}}, SERVER_ERROR, 503),
        ("finish_reason: error", SERVER_ERROR, None),
        ("model overloaded", OVERLOADED, None),
        (True, SERVER_ERROR, None),
        ([], SERVER_ERROR, None),
        (None, SERVER_ERROR, None),
    ],
)
def test_an_error_inside_a_200_has_the_class_that_it_names(
    provider: Provider, error: object, kind: FailureClass, status: int | None
) -> None:
    failure = provider.read_embedded_error(error)
    assert failure.kind is kind
    assert failure.status == status
    assert failure.cause.startswith("error inside a 200: ")


@pytest.mark.parametrize(
    ("said", "summary"),
    [
        (
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            UpstreamError("m", "c", "t", "p"),
        ),
        ({"object": "error", "message": "m", "code": 3}, UpstreamError("m", 3)),
        ({"error": "m"}, UpstreamError("m")),
        ([{"error": {"message": "m", "code": 400}}], UpstreamError("m", 400)),
        (b"plain text", UpstreamError("plain text")),
        ({"detail": [{"msg": "a"}, {"msg": "b"}]}, UpstreamError("a; b")),
        ({"error": {"code": 1}}, UpstreamError("The upstream gave no message.", 1)),
        (b"", None),
        (b"<html></html>", None),
        (b"5", None),
    ],
)
def test_an_upstreams_words_are_kept(
    provider: Provider, said: object, summary: UpstreamError | None
) -> None:
    assert read(provider, 400, said).said == summary


def test_an_upstreams_words_are_bounded(provider: Provider) -> None:
    long = "x" * 50_000
    for said in (openai(long, long, long), {"error": long}, long.encode()):
        summary = read(provider, 400, said).said
        assert summary
        assert len(repr(summary)) < 3000


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_hint_is_read_where_it_means_later(provider: Provider, status: int) -> None:
    headers = [(b"retry-after", b"7")]
    assert read(provider, status, b"", headers).retry_after_s == 7.0
    said = openai("Please try again in 1.5s.")
    assert read(provider, status, said).retry_after_s == 1.5


@pytest.mark.parametrize("status", [301, 400, 401, 408, 500, 502])
def test_elsewhere_it_is_not(provider: Provider, status: int) -> None:
    assert read(provider, status, b"", [(b"retry-after", b"7")]).retry_after_s is None


def test_googles_delay_is_found_in_its_list(provider: Provider) -> None:
    info = {"@type": f"{GOOGLE}.RetryInfo", "retryDelay": "34s"}
    said = google(429, "RESOURCE_EXHAUSTED", "", google_quota("PerMinute"), info)
    assert read(provider, 429, said).retry_after_s == 34.0


def test_an_embedded_error_may_hint_too(provider: Provider) -> None:
    error = {"code": 429, "message": "Please retry in 3s."}
    assert provider.read_embedded_error(error).retry_after_s == 3.0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "type",
                    "status",
                    "details",
                    "innererror",
                    "metadata",
                    "detail",
                    "violations",
                    "retryDelay",
                    "errors",
                    "param",
                    "object",
                ]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", PROVIDERS)
@given(
    status=st.integers(100, 999),
    body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
    value=st.binary(max_size=30),
    error=json_values,
)
def test_no_answer_raises(
    kind: ProviderKind, status: int, body: bytes, value: bytes, error: object
) -> None:
    provider = PROVIDERS[kind]
    headers = [(b"retry-after", value), (value, value)]
    failure = provider.read_error(status, headers, body, wall_now=1e9)
    assert failure.status == status
    assert failure.kind not in (FailureClass.CANCELLED, FailureClass.INTERRUPTED)
    provider.read_embedded_error(error)


def test_a_deep_answer_does_not_raise(provider: Provider) -> None:
    for member in (b"error", b"message", b"details"):
        for depth in (100, 900, 20_000):
            body = b'{"%b":' % member * depth + b"1" + b"}" * depth
            read(provider, 400, body)
            read(provider, 400, b"[" * depth + b"]" * depth)


def test_causes_are_fixed_phrases(provider: Provider) -> None:
    for status in range(300, 600):
        assert read(provider, status, openai("SECRET", "SECRET")).cause.islower()


def test_every_kind_of_provider_has_a_row() -> None:
    assert set(PROVIDERS) == set(ProviderKind)
    for kind in ProviderKind:
        assert provider_for(an_account(kind)) is PROVIDERS[kind]


def test_a_row_says_where_and_as_whom_to_ask(provider: Provider) -> None:
    for kind in ProviderKind:
        account = an_account(kind)
        path = provider.path(a_target(account))
        assert path.startswith("/")
        assert path.isascii()
        fields = provider.credentials(account)
        assert all(name == name.lower() for name, _ in fields)
        assert KEY.encode() in fields[0][1]
        assert KEY not in path
        assert provider.credentials(an_account(kind, key=None)) == ()


def test_an_openai_server_is_asked_under_its_base_url() -> None:
    account = an_account(ProviderKind.OPENAI)
    provider = provider_for(account)
    assert provider.path(a_target(account, "a/b")) == "/chat/completions"
    assert provider.credentials(account) == ((b"authorization", b"Bearer sk-secret"),)


def test_azure_is_asked_for_a_deployment_where_it_has_a_version() -> None:
    account = an_account(ProviderKind.AZURE, api_version="2025-01-01")
    provider = provider_for(account)
    assert provider.path(a_target(account, "mini prod/\u00e9?")) == (
        "/openai/deployments/mini%20prod%2F%C3%A9%3F/chat/completions"
        "?api-version=2025-01-01"
    )
    assert provider.credentials(account) == ((b"api-key", b"sk-secret"),)


def test_azure_is_asked_by_its_v1_api_where_it_has_none() -> None:
    account = an_account(ProviderKind.AZURE)
    provider = provider_for(account)
    assert provider.path(a_target(account)) == "/openai/v1/chat/completions"
