"""The policy that `trio-gateway init` writes: small, complete, explained in place."""

from typing import Final

STARTER: Final = """\
# yaml-language-server: $schema=policy.schema.json
#
# A first policy: one model, answered by OpenAI, and by Groq when OpenAI cannot.
#
#   trio-gateway schema > policy.schema.json    once, so that editors complete keys
#   trio-gateway check policy.yaml              is it valid, and what may happen?
#   trio-gateway explain policy.yaml chat       who is asked, and after how long?
#   trio-gateway serve --policy policy.yaml     it is reloaded when this file changes
#
# Set OPENAI_API_KEY, GROQ_API_KEY and APP_KEY first. Secrets never stand in this file:
# ${NAME} is an environment variable, ${file:PATH} is what a file holds.
version: 1

providers:
  openai:
    base_url: https://api.openai.com/v1
    api_key: ${OPENAI_API_KEY}
    # max_concurrency: 200      # what your contract allows; more goes elsewhere at once
  groq:
    base_url: https://api.groq.com/openai/v1
    api_key: ${GROQ_API_KEY}

# Who may ask. `trio-gateway keys new` makes a key and the hash to write as `sha256`.
access_keys:
  - name: app
    key: ${APP_KEY}
    # models: [chat]            # all of them, if nothing is written
    # expires: 2030-01-01

# What clients call a model, and who answers, in order of preference.
models:
  chat:
    targets:
      - {provider: openai, model: gpt-4o-mini}
      - {provider: groq, model: llama-3.3-70b-versatile}
      # A list inside the list is a tier: those in it share the load.
      # - - {provider: openai, model: gpt-4.1-mini, weight: 3}
      #   - {provider: groq, model: openai/gpt-oss-20b, weight: 1}
    # Whom to ask when a prompt is too long for the targets.
    # context_length_fallback:
    #   - {provider: openai, model: gpt-4.1-mini}

# What is not written has a default that suits most. These change what holds for every
# model; each may stand under a model, too.
# defaults:
#   commit: first_token         # complete: hold each answer until it is whole
#   attempts: {max: 3}
#   timeouts:
#     first_token: {soft: 8s, hard: 20s}
#     total: 600s
"""
