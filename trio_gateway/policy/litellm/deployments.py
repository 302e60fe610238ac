"""`model_list`: each deployment's endpoint, model, share and limits."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from trio_gateway.policy.files.document import KeyPath
from trio_gateway.policy.files.references import SECRET_HEADERS
from trio_gateway.policy.format import texts
from trio_gateway.policy.format.texts import TextError
from trio_gateway.policy.litellm.reading import Part, as_reference, is_reference
from trio_gateway.policy.litellm.vendors import NO_KEYS, VENDORS, Vendor, split_model

CREDENTIAL_KEYS: Final = ("api_key", "api_base", "base_url", "api_version")
SHARES: Final = ("weight", "rpm", "tpm")

# Fields of a request that a deployment may set.
REQUEST_FIELDS: Final = (
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "reasoning_effort",
    "service_tier",
)

# What `model_info` says of anything but chat, we have no endpoint for.
_CHAT_MODES: Final = (None, "chat")

_A_RATE: Final = (
    "is no limit here, only a share of the load; `max_concurrency` bounds requests at "
    "once"
)
_REASONS: Final = {
    "azure_ad_token": "tokens of Microsoft Entra have no counterpart; set an API key",
    "tenant_id": "tokens of Microsoft Entra have no counterpart; set an API key",
    "mock_response": "has no counterpart; `trio-gateway upstream` simulates providers",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A provider that is to be: deployments with the same one share it."""

    vendor: str
    kind: str
    base_url: str
    api_key: str | None
    api_version: str | None
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One entry of `model_list`."""

    path: KeyPath
    group: str
    id: str | None
    endpoint: Endpoint
    model: str
    order: float | None
    shares: Mapping[str, float]  # of SHARES, those that are written
    timeout_s: float | None
    stream_timeout_s: float | None
    retries: int | None
    max_concurrency: int | None
    context_tokens: int | None
    overrides: Mapping[str, object]


@dataclass(slots=True)
class Secrets:
    """Variables for the secrets that a configuration spells out."""

    _variables: dict[str, str] = field(default_factory=dict)

    def variable(self, literal: str, wanted: str) -> str:
        """The variable for a literal secret: one for each secret."""
        taken = set(self._variables.values())
        numbered = (f"{wanted}_{number}" for number in range(2, len(taken) + 3))
        free = next(name for name in (wanted, *numbered) if name not in taken)
        return self._variables.setdefault(literal, free)

    def reference(self, part: Part, key: str, wanted: str) -> str | None:
        """A secret as a reference; a literal one gets a variable, and a note."""
        text = part.text(key)
        if text is None or is_reference(text):
            return text
        name = self.variable(text, wanted)
        part.note(key, f"is a literal secret and stays behind: set {name} to it")
        return f"${{{name}}}"


def read_deployments(
    entry: Part, secrets: Secrets, credentials: Mapping[str, Part]
) -> Iterator[Deployment]:
    """The deployments that one entry stands for; none if we cannot ask for it.

    Args:
        entry: Of `model_list`.
        secrets: Names the variables of literal secrets.
        credentials: What `credential_list` defines, by name.
    """
    group, named = entry.text("model_name"), None
    params, info = entry.part("litellm_params"), entry.part("model_info")
    entry.close({})
    named = params.text("model")
    identity, mode = info.text("id"), info.text("mode")
    context_tokens = _count(info, "max_input_tokens")
    info.close({})
    prefix, model = split_model(named or "")
    vendor = VENDORS.get(prefix)
    why_not = _why_not(group, named, mode, vendor)
    if why_not is not None or vendor is None or group is None:
        entry.notes.add(entry.path, f"{why_not}: this deployment is left out")
        return
    if vendor.remark is not None:
        params.note("model", f"{prefix} {vendor.remark}")
    sources = [params]
    if (credential := params.text("litellm_credential_name")) in credentials:
        sources.append(credentials[str(credential)].copy())
    elif credential is not None:
        params.note("litellm_credential_name", "names no credential in the file")
    organizations = _organizations(params)
    endpoint = _endpoint(sources, prefix, vendor, secrets)
    made = Deployment(
        path=entry.path,
        group=group,
        id=identity,
        endpoint=endpoint,
        model=model,
        order=params.number("order"),
        shares=_shares(params),
        timeout_s=params.number("timeout"),
        stream_timeout_s=params.number("stream_timeout"),
        retries=_retries(params),
        max_concurrency=_count(params, "max_parallel_requests"),
        context_tokens=context_tokens,
        overrides=_overrides(params),
    )
    params.close(_REASONS)
    for organization in organizations:
        header = (("OpenAI-Organization", organization),) if organization else ()
        headers = (*endpoint.headers, *header)
        yield replace(made, endpoint=replace(endpoint, headers=headers))


def _why_not(
    group: str | None, named: str | None, mode: str | None, vendor: Vendor | None
) -> str | None:
    """Why we cannot ask for it; None if we can."""
    if not group or not named:
        return "has no model_name, or no model"
    if "*" in group or "*" in named:
        return "stands for any model, and every slug is written here"
    if mode not in _CHAT_MODES:
        return f"is for {mode}, and only chat is relayed here"
    if vendor is None:
        return f"is of {named.partition('/')[0]}, whose API is not spoken here"
    return None


def _endpoint(
    sources: list[Part], prefix: str, vendor: Vendor, secrets: Secrets
) -> Endpoint:
    variable = vendor.variable or f"{prefix.upper()}_API_KEY"
    headers = tuple(_headers(sources[0], secrets))
    return Endpoint(
        vendor=prefix,
        kind=vendor.kind,
        base_url=_address(sources, prefix, vendor),
        api_key=_api_key(sources, variable, vendor, secrets),
        api_version=_first(sources, "api_version") if vendor.kind == "azure" else None,
        headers=headers,
    )


def _first(sources: list[Part], key: str) -> str | None:
    return next((text for part in sources if (text := part.text(key))), None)


def _address(sources: list[Part], prefix: str, vendor: Vendor) -> str:
    """Where the API's paths begin, as we write it."""
    part = sources[0]
    written = _first(sources, "api_base") or _first(sources, "base_url")
    variable = f"${{{prefix.upper()}_API_BASE}}"
    if written is None:
        return vendor.base_url or variable
    if is_reference(written):
        return written
    try:
        address = texts.base_url(written)
    except TextError as error:
        part.note("api_base", f"{error.message}: set {variable[2:-1]} to one")
        return variable
    if vendor.kind == "azure":
        return re.sub(r"/openai(/.*)?$", "", address)
    return address if address.endswith(vendor.path) else address + vendor.path


def _api_key(
    sources: list[Part], variable: str, vendor: Vendor, secrets: Secrets
) -> str | None:
    """A reference, or None for a server that wants no key."""
    for part in sources:
        written = part.take("api_key")
        if isinstance(written, str) and written.lower() in NO_KEYS:
            return None
        if isinstance(written, str):
            text = as_reference(written)
            if is_reference(text):
                return text
            name = secrets.variable(written, variable)
            message = f"is a literal secret and stays behind: set {name} to it"
            part.note("api_key", message)
            return f"${{{name}}}"
    return None if vendor.variable is None else f"${{{vendor.variable}}}"


def _headers(part: Part, secrets: Secrets) -> Iterator[tuple[str, str]]:
    extra = part.part("extra_headers")
    for name in extra.left():
        try:
            texts.header_name(name)
        except TextError as error:
            extra.note(name, f"{error.message}, and left out")
            extra.take(name)
            continue
        if name.lower() in SECRET_HEADERS:
            variable = re.sub(r"\W", "_", name).upper()
            value = secrets.reference(extra, name, variable)
        else:
            value = extra.text(name)
        if value is not None:
            yield name, value


def _organizations(part: Part) -> list[str | None]:
    """One, none or several; LiteLLM makes a deployment for each."""
    written = part.take("organization")
    if isinstance(written, list):
        return [as_reference(str(each)) for each in written] or [None]
    return [None if written is None else as_reference(str(written))]


def _shares(part: Part) -> dict[str, float]:
    shares: dict[str, float] = {}
    for name in SHARES:
        number = part.number(name)
        if number is not None:
            shares[name] = number
            if name != "weight":
                part.note(name, _A_RATE)
            elif number == 0:
                part.note(name, "is asked last here, for a weight is above 0")
    return shares


def _retries(part: Part) -> int | None:
    numbers = [_count(part, key) for key in ("num_retries", "max_retries")]
    return next((number for number in numbers if number is not None), None)


def _count(part: Part, key: str) -> int | None:
    number = part.number(key)
    return None if number is None else int(number)


def _overrides(part: Part) -> dict[str, object]:
    """Fields that every request of the deployment gets."""
    overrides: dict[str, object] = {}
    for name in REQUEST_FIELDS:
        value = part.take(name)
        if value is not None:
            overrides[name] = value
            part.note(name, "is set in every request here, also over a client's own")
    extra = part.part("extra_body")
    return overrides | {name: extra.take(name) for name in extra.left()}
