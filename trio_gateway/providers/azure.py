"""Azure OpenAI: deployments instead of models, `api-key` instead of a bearer token.

Its errors have OpenAI's shape and OpenAI's table reads them; Azure's own codes and
texts are rows there.
"""

from urllib.parse import quote

from trio_gateway.policy.route import Account, Target
from trio_gateway.providers.openai import read_embedded_error, read_error

__all__ = ["credentials", "path", "read_embedded_error", "read_error"]


def path(target: Target) -> str:
    """The deployment's own path where an `api_version` is set, else the v1 API's."""
    version = target.account.api_version
    if version is None:
        return "/openai/v1/chat/completions"
    deployment, version = quote(target.model, safe=""), quote(version, safe="")
    return f"/openai/deployments/{deployment}/chat/completions?api-version={version}"


def credentials(account: Account) -> tuple[tuple[bytes, bytes], ...]:
    """The resource's key; none where something in front of us adds it."""
    if account.api_key is None:
        return ()
    return ((b"api-key", account.api_key.reveal.encode()),)
