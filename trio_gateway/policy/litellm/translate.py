"""A configuration of LiteLLM's proxy in, a policy out, and notes on the difference."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from trio_gateway.policy.files.document import Document
from trio_gateway.policy.files.problems import PolicyError, Problem
from trio_gateway.policy.files.reading import HAS_NO_VALUE, read_document
from trio_gateway.policy.format import defaults, texts
from trio_gateway.policy.format.texts import TextError
from trio_gateway.policy.litellm.deployments import (
    CREDENTIAL_KEYS,
    Deployment,
    Endpoint,
    Secrets,
    read_deployments,
)
from trio_gateway.policy.litellm.models import (
    Fallbacks,
    ModelWriter,
    Named,
    attempt_timeouts,
    duration,
)
from trio_gateway.policy.litellm.reading import Note, Notes, Part
from trio_gateway.policy.litellm.settings import Settings, SettingsReader

_OPEN_TO_ALL: Final = (
    "there is no master_key, and here nobody may ask without a key: set GATEWAY_KEY"
)


@dataclass(frozen=True, slots=True)
class Translation:
    """What became of a configuration."""

    policy: str  # YAML, the notes in it as comments
    notes: tuple[Note, ...]
    variables: tuple[str, ...]  # the environment that the policy needs


def translate(file: str, content: bytes) -> Translation:
    """Say a configuration of LiteLLM's proxy again as a policy.

    Args:
        file: The configuration's name, for the notes.
        content: The configuration.

    Raises:
        PolicyError: it is no YAML, or no deployment in it can be asked.
    """
    document, problems = read_document(file, content)
    if document is None:
        raise PolicyError(problems, [(file, content)])
    notes = Notes(document)
    for problem in problems:
        if problem.message != HAS_NO_VALUE:  # LiteLLM takes that for not written
            notes.add_problem(problem)
    translated = _Translator(document, notes).policy()
    if not translated.get("models"):
        message = "holds no deployment that could be asked"
        remedy = "See its notes: " + "; ".join(str(note) for note in notes.in_order())
        raise PolicyError([Problem(file, 1, 1, "", message, remedy)])
    body = "version: 1\n\n" + _as_yaml(translated)
    variables = tuple(dict.fromkeys(re.findall(r"(?<!\$)\$\{(\w+)\}", body)))
    head = _head(file, notes.in_order(), variables)
    return Translation(head + body, notes.in_order(), variables)


class _Translator:
    """One configuration, section by section."""

    def __init__(self, document: Document, notes: Notes) -> None:
        self._notes = notes
        self._secrets = Secrets()
        self._whole = Part(notes, (), document.value)
        self._sections = SettingsReader(
            self._whole.part("router_settings"),
            self._whole.part("litellm_settings"),
            self._whole.part("general_settings"),
        )

    def policy(self) -> dict[str, object]:
        """The policy as plain values."""
        credentials = dict(self._credentials())
        deployments = [
            deployment
            for entry in self._whole.parts("model_list")
            for deployment in read_deployments(entry, self._secrets, credentials)
        ]
        settings = self._sections.read(self._secrets)
        names = _provider_names(deployments)
        groups: dict[str, list[Named]] = {}
        for deployment in deployments:
            named = Named(deployment, names[deployment.endpoint])
            groups.setdefault(deployment.group, []).append(named)
        by_id = {d.id: [Named(d, names[d.endpoint])] for d in deployments if d.id}
        known = {**by_id, **groups}
        writer = ModelWriter(known, self._fallbacks(known), settings, self._notes)
        models: dict[str, object] = {}
        for name, group in (*((g, g) for g in groups), *self._aliases(groups)):
            models.setdefault(self._slug(name, models), writer.model(group))
        for values in credentials.values():
            for key in CREDENTIAL_KEYS:
                values.take(key)
            values.close({})
        self._note_environment()
        self._sections.close()
        self._whole.close({"include": "is not followed: import each file"})
        return {
            **_gateway(settings),
            "providers": dict(_providers(names)),
            "access_keys": [self._access_key(settings)],
            **_defaults(settings),
            "models": models,
        }

    def _credentials(self) -> Iterator[tuple[str, Part]]:
        """What `credential_list` defines, by name."""
        for entry in self._whole.parts("credential_list"):
            name, values = (
                entry.text("credential_name"),
                entry.part("credential_values"),
            )
            entry.take("credential_info")  # a description
            entry.close({})
            if name is not None:
                yield name, values

    def _fallbacks(self, known: Mapping[str, object]) -> Fallbacks:
        general = self._lists("fallbacks", known)
        for part, value in self._sections.lists("default_fallbacks"):
            names: Sequence[object] = value if isinstance(value, list) else [value]
            kept = self._known(part, "default_fallbacks", names, known)
            general.setdefault("*", kept)
        return Fallbacks(
            general=general,
            context=self._lists("context_window_fallbacks", known),
            content=self._lists("content_policy_fallbacks", known),
        )

    def _lists(self, key: str, known: Mapping[str, object]) -> dict[str, list[str]]:
        """A list of `{group: [groups]}`, or one such mapping."""
        found: dict[str, list[str]] = {}
        for part, value in self._sections.lists(key):
            entries = value if isinstance(value, list) else [value]
            for entry in entries:
                if not isinstance(entry, dict):
                    part.note(key, "is no list of {group: [groups]}, and left out")
                    continue
                for group, names in entry.items():
                    listed = names if isinstance(names, list) else [names]
                    if group != "*":
                        self._known(part, key, [group], known)
                    found.setdefault(group, self._known(part, key, listed, known))
        return found

    def _known(
        self, part: Part, key: str, names: Sequence[object], known: Mapping[str, object]
    ) -> list[str]:
        """Those of the names that can be asked; the others are noted."""
        kept = []
        for name in names:
            if isinstance(name, str) and name in known:
                kept.append(name)
            elif isinstance(name, str):
                part.note(key, f"names {name}, which is no group that can be asked")
            else:
                part.note(key, "changes the request for a fallback, which is left out")
        return kept

    def _aliases(self, groups: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        for part, value in self._sections.lists("model_group_alias"):
            for alias, target in value.items() if isinstance(value, dict) else ():
                group = target
                if isinstance(target, dict):
                    group = target.get("model")
                    if target.get("hidden"):
                        text = f"{alias} is shown in catalogs here: nothing is hidden"
                        part.note("model_group_alias", text)
                if group not in groups:
                    text = f"{alias} stands for no group that can be asked"
                    part.note("model_group_alias", text)
                elif alias not in groups:
                    yield alias, str(group)

    def _slug(self, group: str, taken: Mapping[str, object]) -> str:
        """The group's name, with a dash for what may not stand in a slug."""
        try:
            return texts.slug(group)
        except TextError:
            slug = re.sub(r"[^A-Za-z0-9._:@+/-]+|/(?=/|$)", "-", group)[:150]
            slug = slug.strip("._:@+/-") or "model"
            numbered = (f"{slug}-{number}" for number in range(2, len(taken) + 3))
            slug = next(each for each in (slug, *numbered) if each not in taken)
            self._notes.add(("model_list",), f"{group!r} is no slug, and called {slug}")
            return slug

    def _access_key(self, settings: Settings) -> dict[str, object]:
        if settings.master_key is None:
            self._notes.add(("general_settings",), _OPEN_TO_ALL)
        return {"name": "master", "key": settings.master_key or "${GATEWAY_KEY}"}

    def _note_environment(self) -> None:
        environment = self._whole.part("environment_variables")
        for name in environment.left():
            environment.take(name)
            environment.note(name, "stays behind: set it in the gateway's environment")


def _provider_names(deployments: Sequence[Deployment]) -> dict[Endpoint, str]:
    """A name for each endpoint: its vendor's, numbered from the second on."""
    names: dict[Endpoint, str] = {}
    for endpoint in (deployment.endpoint for deployment in deployments):
        if endpoint not in names:
            vendor = endpoint.vendor.replace("_", "-")
            count = sum(each.vendor == endpoint.vendor for each in names) + 1
            names[endpoint] = vendor if count == 1 else f"{vendor}-{count}"
    return names


def _providers(
    names: Mapping[Endpoint, str],
) -> Iterator[tuple[str, dict[str, object]]]:
    """The entries of `providers:`; those at one address fail together."""
    first_at: dict[str, str] = {}
    for endpoint, name in names.items():
        provider: dict[str, object] = {}
        if endpoint.kind != "openai":
            provider["kind"] = endpoint.kind
        provider["base_url"] = endpoint.base_url
        if endpoint.api_key is not None:
            provider["api_key"] = endpoint.api_key
        if endpoint.api_version is not None:
            provider["api_version"] = endpoint.api_version
        domain = first_at.setdefault(endpoint.base_url, name)
        if domain != name:
            provider["failure_domain"] = domain
        if endpoint.headers:
            provider["headers"] = dict(endpoint.headers)
        yield name, provider


def _gateway(settings: Settings) -> dict[str, object]:
    gateway: dict[str, object] = {}
    if settings.max_in_flight:
        gateway["max_in_flight"] = settings.max_in_flight
    if settings.max_body_mb:
        gateway["max_body"] = f"{min(settings.max_body_mb, 1024)}MiB"
    return {"gateway": gateway} if gateway else {}


def _defaults(settings: Settings) -> dict[str, object]:
    made: dict[str, object] = {}
    timeouts: dict[str, str] = attempt_timeouts(
        settings.timeout_s, settings.stream_timeout_s
    )
    if (settings.stream_timeout_s or 0) > defaults.PRECOMMIT_S:
        timeouts["precommit"] = timeouts["first_token"]
    if (settings.timeout_s or 0) > defaults.TOTAL_S:
        timeouts["total"] = timeouts["answer"]
    if timeouts:
        made["timeouts"] = timeouts
    if settings.retry_after_s:
        wait = duration(settings.retry_after_s)
        longest = duration(max(settings.retry_after_s, defaults.BACKOFF_MAX_S))
        made["retry"] = {"backoff": {"initial": wait, "max": longest}}
    breaker: dict[str, object] = {}
    if settings.allowed_fails is not None:
        breaker["consecutive"] = settings.allowed_fails + 1
    if settings.cooldown_s:
        breaker["open"] = {"base": duration(settings.cooldown_s)}
    if breaker:
        made["circuit_breaker"] = breaker
    return {"defaults": made} if made else {}


def _as_yaml(policy: Mapping[str, object]) -> str:
    """Sections under each other, the innermost values in one line."""
    return "\n".join(
        yaml.dump(
            {section: value},
            Dumper=_PlainDumper,
            default_flow_style=None,
            sort_keys=False,
            allow_unicode=True,
            width=1000,
        )
        for section, value in policy.items()
    )


class _PlainDumper(yaml.SafeDumper):
    """Without anchors: what stands at two places is written at both."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001,FBT002 - as PyYAML has it
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _head(file: str, notes: Sequence[Note], variables: Sequence[str]) -> str:
    lines = [
        "# yaml-language-server: $schema=policy.schema.json",
        "#",
        f"# Imported from {file}, a configuration of LiteLLM's proxy.",
        "#",
        f"# Set {', '.join(variables)} first.",
    ]
    if notes:
        lines += ["#", "# What has no counterpart here, or not quite the same one:"]
        lines += [f"#   {' '.join(str(note).split())}" for note in notes]
    return "\n".join(lines) + "\n"
