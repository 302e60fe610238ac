"""What may be written in a policy file: its keys, their values, and their reference.

All of it is said once, and told in several ways:

    model           every key, and where it may stand
    fields          what it may hold, in `quantities` and in `texts` of a form
    defaults        what holds where nothing is written
    complaints      what does not fit, in our own words
    schema          all that for editors
    reference       and for people: `reference_key` and `reference_settings` say it,
                    `reference_text` writes it as a table
    starter         the policy that `init` writes
"""
