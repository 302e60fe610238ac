"""Every dialect we speak, in one table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from trio_gateway.policy.route import Account, ProviderKind
from trio_gateway.providers import azure, openai
from trio_gateway.providers.base import Provider

PROVIDERS: Final[Mapping[ProviderKind, Provider]] = MappingProxyType(
    {ProviderKind.OPENAI: openai, ProviderKind.AZURE: azure}
)


def provider_for(account: Account) -> Provider:
    """Return the dialect that an account's endpoint speaks."""
    return PROVIDERS[account.kind]
