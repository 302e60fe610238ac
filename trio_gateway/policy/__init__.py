"""What the operator asked for: from the text of policy files to values.

From the first to the last step:

    files --read, merged--> document --expanded, checked--> model --resolved--> route

    files           text: `reading` YAML with places (`syntax`: what is wrong with it),
                    a `document`, `merge` of several, `references` to secrets;
                    `problems` as values, a `report` of them for people, `masking` what
                    is secret
    format          what may be written, and its reference
    route           what the engine reads, made by `resolve` from the model
    check           whether the parts fit together; `load` does all of this in order
    share           what one of several workers may use of it
    change          what another policy changes, in words
    litellm         another gateway's configuration, said again as a policy
    judgement       beyond validity: `bounds` of the worst, `lints` and their `findings`
    explanation     what becomes of a request, and under health that is `given`
"""
