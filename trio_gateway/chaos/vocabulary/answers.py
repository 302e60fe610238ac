"""Good answers, as real providers send them: whole, or as a stream of events.

Everything in an answer follows from the request and from a `Voice`: the provider's
name, a seed, the request's number. No clock is read and no die is shared, so the same
request gets the same bytes in every run, in memory as on sockets.
"""

import json
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from trio_gateway.chaos.vocabulary.script import Pause, Script, Send, Step

# Not a round prompt of ASCII: some words are two, three or four bytes a letter, so that
# an answer cut at any byte is sometimes cut inside a letter.
WORDS: Final = (
    *("the", "ticket", "is", "about", "a", "charge", "that", "came", "twice", "in"),
    *("June;", "please", "check", "your", "invoice,", "thank", "you", "für", "Ihre"),
    *("Geduld,", "déjà", "vu,", "naïve", "café,", "東京", "の", "請求書", "👍", "🚀"),
)

# OpenAI's own limit on `n`.
CHOICES_MAX: Final = 128

# A script holds one step for each token and choice. No test or demo needs a longer
# answer, and a hostile `n` x `max_tokens` must not fill our memory.
TOKENS_MAX: Final = 10_000

# Where a simulated client says how long its answer is to be, and how long its name is.
ANSWER_TOKENS_KEY: Final = "answer_tokens"
TICKET_CHARS_MAX: Final = 100
_NUMBER: Final = re.compile(r"[0-9]{1,6}")

# `created` and `date` count on from here, because an answer may not depend on the day.
CREATED_AT: Final = 1_760_000_000

JSON: Final = ("content-type", "application/json")
EVENTS: Final = ("content-type", "text/event-stream; charset=utf-8")
DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion as it reached the provider."""

    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says that shapes its answer."""

    model: str
    is_stream: bool = False
    choices: int = 1
    tokens_max: int | None = None
    wants_usage: bool = False
    prompt_tokens: int = 0
    ticket: str | None = None  # `user`: of a simulated client, the name of its dice
    answer_tokens: int | None = None  # that a simulated client's answer is to have

    @classmethod
    def of(cls, request: ChatRequest) -> "Asked":
        """Read a request, leniently: only what would make an answer impossible fails.

        Raises:
            ValueError: it is no JSON object, or `n` is out of range.
        """
        try:
            said = json.loads(request.body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise ValueError("We could not parse the JSON body of your request.")  # noqa: TRY004 - it is the text that is wrong
        choices = said.get("n") or 1
        if not isinstance(choices, int) or not 1 <= choices <= CHOICES_MAX:
            raise ValueError(f"Invalid 'n': expected 1 to {CHOICES_MAX}.")
        limit = said.get("max_completion_tokens") or said.get("max_tokens")
        options = said.get("stream_options")
        return cls(
            model=str(said.get("model") or _deployment(request.path)),
            is_stream=said.get("stream") is True,
            choices=choices,
            tokens_max=max(1, limit) if isinstance(limit, int) else None,
            wants_usage=isinstance(options, dict)
            and options.get("include_usage") is True,
            # A token is about four bytes; nobody here checks more than that it is so.
            prompt_tokens=max(1, len(request.body) // 4),
            ticket=_ticket(said.get("user")),
            answer_tokens=_answer_tokens(said.get("metadata")),
        )


def _ticket(user: object) -> str | None:
    if isinstance(user, str) and 0 < len(user) <= TICKET_CHARS_MAX:
        return user
    return None


def _answer_tokens(metadata: object) -> int | None:
    """Read what `metadata` says of the answer: its values are strings, as OpenAI's."""
    said = metadata.get(ANSWER_TOKENS_KEY) if isinstance(metadata, dict) else None
    if not isinstance(said, str) or not _NUMBER.fullmatch(said):
        return None
    return min(max(1, int(said)), TOKENS_MAX)


def _deployment(path: str) -> str:
    """Say which model an Azure path names: `/openai/deployments/NAME/...`."""
    _, _, rest = path.partition("/deployments/")
    return rest.partition("/")[0] or "simulated"


class Dialect(StrEnum):
    """Which provider's way of speaking OpenAI's API."""

    OPENAI = "openai"
    AZURE = "azure"  # with the verdicts of its content filter all through the answer


@dataclass(frozen=True, slots=True)
class Pace:
    """How long answers are and how fast they come.

    A stream's head comes after `head_s`, its first token `first_token_s` later, every
    next one `gap_s` after the last. A plain answer takes as long in all. Where a
    provider reads what it has written before it sends it, as Azure does, tokens come
    in blocks.
    """

    tokens: int = 24
    head_s: float = 0.0
    first_token_s: float = 0.0
    gap_s: float = 0.0
    block_tokens: int = 1

    def slower(self, factor: float) -> "Pace":
        """The same, but everything takes so many times as long."""
        return replace(
            self,
            head_s=self.head_s * factor,
            first_token_s=self.first_token_s * factor,
            gap_s=self.gap_s * factor,
        )


@dataclass(frozen=True, slots=True)
class Voice:
    """Who answers which request: all that chance may depend on."""

    provider: str = "provider"
    seed: int = 0
    number: int = 1
    pace: Pace = Pace()
    dialect: Dialect = Dialect.OPENAI

    def random(self, purpose: str) -> Random:
        """Give this answer's own dice, one set for each purpose."""
        return Random(f"{self.seed}/{self.provider}/{self.number}/{purpose}")

    @property
    def created_at(self) -> int:
        """When the answer says it was made, in seconds since 1970."""
        return CREATED_AT + self.number


@dataclass(frozen=True, slots=True)
class Events:
    """A stream by the parts it is made of, each event as its bytes."""

    roles: tuple[bytes, ...]  # one for each choice, without content; Azure: one more
    tokens: tuple[bytes, ...]
    finishes: tuple[bytes, ...]  # one for each choice
    usage: tuple[bytes, ...]  # none or one
    done: tuple[bytes, ...] = (DONE,)

    @property
    def tail(self) -> tuple[bytes, ...]:
        """What follows the last token."""
        return (*self.finishes, *self.usage, *self.done)


def good_script(asked: Asked, voice: Voice) -> Script:
    """Answer as asked, with nothing wrong."""
    if asked.is_stream:
        return stream_script(stream_events(asked, voice), voice.pace)
    head_after_s = voice.pace.head_s + thinking_s(asked, voice.pace)
    return plain_script(completion(asked, voice), head_after_s=head_after_s)


def thinking_s(asked: Asked, pace: Pace) -> float:
    """Say how much later a plain answer's head comes: all its tokens' time."""
    if asked.is_stream:
        return 0.0
    return pace.first_token_s + pace.gap_s * (_tokens(asked, pace) - 1)


def plain_script(
    body: bytes,
    *,
    status: int = 200,
    headers: tuple[tuple[str, str], ...] = (JSON,),
    head_after_s: float = 0.0,
) -> Script:
    """Send a body at once and say its length beforehand."""
    return Script(
        status=status,
        headers=(*headers, ("content-length", str(len(body)))),
        head_after_s=head_after_s,
        steps=(Send(body),),
    )


def stream_script(events: Events, pace: Pace) -> Script:
    """Send events one by one, tokens at the pace given."""
    steps: list[Step] = [Send(event) for event in events.roles]
    wait_s = pace.first_token_s
    for place, event in enumerate(events.tokens):
        if wait_s and place % pace.block_tokens == 0:
            steps.append(Pause(wait_s))
            wait_s = 0.0
        steps.append(Send(event))
        wait_s += pace.gap_s
    steps.extend(Send(event) for event in events.tail)
    return Script(headers=(EVENTS,), head_after_s=pace.head_s, steps=tuple(steps))


def completion(asked: Asked, voice: Voice) -> bytes:
    """Make a whole `chat.completion` with its usage."""
    tokens = _tokens(asked, voice.pace)
    choices: list[dict[str, object]] = [
        {
            "index": index,
            "message": {
                "role": "assistant",
                "content": "".join(_words(voice, index, tokens)),
                "refusal": None,
            },
            "logprobs": None,
            "finish_reason": _finish_reason(asked, voice.pace),
        }
        for index in range(asked.choices)
    ]
    frame = _frame(asked, voice, kind="chat.completion")
    if voice.dialect is Dialect.AZURE:
        frame |= PROMPT_VERDICT
        choices = [choice | VERDICT for choice in choices]
    return as_json(frame | {"choices": choices, "usage": _usage(asked, tokens)})


def stream_events(asked: Asked, voice: Voice) -> Events:
    """Make the events of a stream: roles, tokens of all choices in turn, finishes."""
    frame = _frame(asked, voice, kind="chat.completion.chunk")
    if asked.wants_usage:
        frame["usage"] = None
    tokens = _tokens(asked, voice.pace)
    indices = range(asked.choices)
    is_azure = voice.dialect is Dialect.AZURE

    def chunk(index: int, delta: dict[str, object], finish: str | None = None) -> bytes:
        choice: dict[str, object] = {
            "index": index,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish,
        }
        if is_azure:
            choice |= VERDICT if delta.get("content") else NO_VERDICT
        return as_event(frame | {"choices": [choice]})

    role: dict[str, object] = {"role": "assistant", "content": "", "refusal": None}
    words = [_words(voice, index, tokens) for index in indices]
    usage = as_event(frame | {"choices": [], "usage": _usage(asked, tokens)})
    finish = _finish_reason(asked, voice.pace)
    roles = tuple(chunk(index, role) for index in indices)
    return Events(
        roles=(PROMPT_EVENT, *roles) if is_azure else roles,
        tokens=tuple(
            chunk(index, {"content": words[index][place]})
            for place in range(tokens)
            for index in indices
        ),
        finishes=tuple(chunk(index, {}, finish) for index in indices),
        usage=(usage,) if asked.wants_usage else (),
    )


def as_json(value: object) -> bytes:
    """Write JSON as providers do: without blanks, letters as they are."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def as_event(value: object) -> bytes:
    """Write one server-sent event."""
    return b"data: " + as_json(value) + b"\n\n"


def preamble_events(asked: Asked, voice: Voice) -> int:
    """How many events of a stream come before its first token."""
    return asked.choices + (voice.dialect is Dialect.AZURE)


_SAFE: Final = {
    name: {"filtered": False, "severity": "safe"}
    for name in ("hate", "self_harm", "sexual", "violence")
}
VERDICT: Final[dict[str, object]] = {"content_filter_results": _SAFE}
NO_VERDICT: Final[dict[str, object]] = {"content_filter_results": {}}
PROMPT_VERDICT: Final[dict[str, object]] = {
    "prompt_filter_results": [{"prompt_index": 0} | VERDICT]
}
# Azure's first frame is about the prompt: it has no choice, no model and no id.
PROMPT_EVENT: Final = as_event(
    {"id": "", "object": "", "created": 0, "model": "", "choices": []} | PROMPT_VERDICT
)


def _frame(asked: Asked, voice: Voice, *, kind: str) -> dict[str, object]:
    random = voice.random("id")
    return {
        "id": f"chatcmpl-{random.getrandbits(96):024x}",
        "object": kind,
        "created": voice.created_at,
        "model": asked.model,
        "system_fingerprint": f"fp_{random.getrandbits(40):010x}",
    }


def _tokens(asked: Asked, pace: Pace) -> int:
    fit = TOKENS_MAX // asked.choices
    return min(pace.tokens, fit, asked.tokens_max or fit)


def _finish_reason(asked: Asked, pace: Pace) -> str:
    return "stop" if _tokens(asked, pace) == pace.tokens else "length"


def _words(voice: Voice, index: int, tokens: int) -> list[str]:
    random = voice.random(f"words/{index}")
    first, *rest = random.choices(WORDS, k=tokens)
    return [first, *(f" {word}" for word in rest)]


def _usage(asked: Asked, tokens: int) -> dict[str, int]:
    made = tokens * asked.choices
    return {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": made,
        "total_tokens": asked.prompt_tokens + made,
    }
