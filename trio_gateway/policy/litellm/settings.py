"""`router_settings`, `litellm_settings` and `general_settings`: what holds for all."""

from dataclasses import dataclass
from typing import Final

from trio_gateway.policy.litellm.deployments import Secrets
from trio_gateway.policy.litellm.reading import Part

_LOGS: Final = "has no counterpart: there is one log line a request, and metrics"
_NO_CACHE: Final = "has no counterpart: answers are not cached"
_NO_DATABASE: Final = "has no counterpart: access keys stand in the policy"
_EACH_ALONE: Final = "has no counterpart: each process watches its targets itself"
_BY_KIND: Final = (
    "has no counterpart: retries are not counted by kind; `fallback_on` says which "
    "failures move on"
)
_A_FALLBACK: Final = "is bounded by `attempts.max`, at most 5"

REASONS: Final = {
    "success_callback": _LOGS,
    "failure_callback": _LOGS,
    "callbacks": _LOGS,
    "service_callbacks": _LOGS,
    "alerting": _LOGS,
    "set_verbose": _LOGS,
    "json_logs": _LOGS,
    "cache": _NO_CACHE,
    "cache_params": _NO_CACHE,
    "cache_responses": _NO_CACHE,
    "database_url": _NO_DATABASE,
    "store_model_in_db": _NO_DATABASE,
    "redis_host": _EACH_ALONE,
    "redis_port": _EACH_ALONE,
    "redis_password": _EACH_ALONE,
    "redis_url": _EACH_ALONE,
    "retry_policy": _BY_KIND,
    "model_group_retry_policy": _BY_KIND,
    "allowed_fails_policy": "has no counterpart: failures are not counted by kind",
    "disable_cooldowns": "has no counterpart: a broken target is asked last, not never",
    "max_fallbacks": _A_FALLBACK,
    "drop_params": "has no counterpart: request fields are passed on as they are",
    "modify_params": "has no counterpart: request fields are passed on as they are",
    "enable_pre_call_checks": "has no counterpart: the provider says whether a prompt "
    "fits",
    "enable_tag_filtering": "has no counterpart: `access_keys.models` says who may use "
    "what",
    "include": "is not followed: import each file",
}

_BALANCED: Final = (
    "has no counterpart by name: a tier is shared by weight, by how soon targets "
    "answer, and by how much they have to do"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is written for all deployments, and is no default of ours by itself."""

    retries: int | None
    timeout_s: float | None
    stream_timeout_s: float | None
    max_concurrency: int | None
    allowed_fails: int | None
    cooldown_s: float | None
    retry_after_s: float | None
    max_in_flight: int | None
    max_body_mb: int | None
    master_key: str | None
    is_shared_by_rates: bool


class SettingsReader:
    """Reads the three sections; what `router_settings` says goes first."""

    def __init__(self, router: Part, library: Part, general: Part) -> None:
        self.router = router
        self.library = library
        self.general = general

    def read(self, secrets: Secrets) -> Settings:
        """Everything but fallbacks and aliases."""
        strategy = self.router.text("routing_strategy")
        if strategy not in (None, "simple-shuffle"):
            self.router.note("routing_strategy", _BALANCED)
        for part in (self.router, self.library):
            if "allowed_fails" in part.left():
                text = "counts failures in a row here, not those of a minute"
                part.note("allowed_fails", text)
        timeout_s, request_timeout_s = (
            self._number("timeout"),
            self._number("request_timeout"),
        )
        concurrency = self._number("default_max_parallel_requests")
        general = self.general.number("max_parallel_requests")
        return Settings(
            retries=_whole(self._number("num_retries")),
            timeout_s=request_timeout_s if timeout_s is None else timeout_s,
            stream_timeout_s=self._number("stream_timeout"),
            max_concurrency=_whole(general if concurrency is None else concurrency),
            allowed_fails=_whole(self._number("allowed_fails")),
            cooldown_s=self._number("cooldown_time"),
            retry_after_s=self._number("retry_after"),
            max_in_flight=_whole(self.general.number("global_max_parallel_requests")),
            max_body_mb=_whole(self.general.number("max_request_size_mb")),
            master_key=secrets.reference(
                self.general, "master_key", "LITELLM_MASTER_KEY"
            ),
            is_shared_by_rates=strategy in (None, "simple-shuffle"),
        )

    def lists(self, key: str) -> list[tuple[Part, object]]:
        """What both sections say of a key, with who says it."""
        said = [(part, part.take(key)) for part in (self.router, self.library)]
        return [(part, value) for part, value in said if value is not None]

    def close(self) -> None:
        """Note what was not taken."""
        for part in (self.router, self.library, self.general):
            part.close(REASONS)

    def _number(self, key: str) -> float | None:
        upper, lower = self.router.number(key), self.library.number(key)
        return lower if upper is None else upper


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
