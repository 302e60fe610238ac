"""The prefixes of LiteLLM's model names: whom they mean, and whether we can ask them.

A vendor is asked in the OpenAI dialect, at the address that it publishes for that, and
with the variable in which LiteLLM looks for its key. Sources: the vendors' and
LiteLLM's documentation.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Vendor:
    """How to ask whom a prefix means."""

    base_url: str | None  # None: only where the configuration writes it
    variable: str | None  # the key's; None: servers of one's own often want none
    kind: str = "openai"
    path: str = ""  # what belongs behind an address that the configuration writes
    remark: str | None = None  # what differs from LiteLLM's way of asking


_OWN: Final = Vendor(None, None)
_OPENAI_WAY: Final = "is asked at its OpenAI-compatible address, not its own API"

VENDORS: Final = {
    "openai": Vendor("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "azure": Vendor(None, "AZURE_API_KEY", kind="azure"),
    "anthropic": Vendor(
        "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", remark=_OPENAI_WAY
    ),
    "cerebras": Vendor("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "deepinfra": Vendor("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "deepseek": Vendor("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "fireworks_ai": Vendor(
        "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"
    ),
    "gemini": Vendor(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        remark=_OPENAI_WAY,
    ),
    "groq": Vendor("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Vendor("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "nvidia_nim": Vendor("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "openrouter": Vendor("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "perplexity": Vendor("https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "sambanova": Vendor("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    "together_ai": Vendor("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "xai": Vendor("https://api.x.ai/v1", "XAI_API_KEY"),
    "ollama": Vendor("http://localhost:11434/v1", None, path="/v1", remark=_OPENAI_WAY),
    "ollama_chat": Vendor(
        "http://localhost:11434/v1", None, path="/v1", remark=_OPENAI_WAY
    ),
    "huggingface": Vendor(None, "HUGGINGFACE_API_KEY", path="/v1", remark=_OPENAI_WAY),
    "custom_openai": _OWN,
    "hosted_vllm": _OWN,
    "litellm_proxy": _OWN,
    "llamafile": _OWN,
    "lm_studio": _OWN,
    "openai_like": _OWN,
    "vllm": _OWN,
    "xinference": _OWN,
}

# Keys that people write where a server wants none.
NO_KEYS: Final = frozenset(
    {
        "",
        "none",
        "null",
        "na",
        "n/a",
        "empty",
        "dummy",
        "fake",
        "not-needed",
        "anything",
    }
)


def split_model(text: str) -> tuple[str, str]:
    """A prefix and the model's name there; without a prefix, LiteLLM means OpenAI."""
    prefix, slash, name = text.partition("/")
    return (prefix, name) if slash else ("openai", text)
