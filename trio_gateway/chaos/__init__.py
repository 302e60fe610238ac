"""Misbehaving on purpose: one vocabulary of faults, and three ways to run it.

              vocabulary, worlds (what may go wrong, and when)
                       |                  |                    |
    decisions: simulation   wire: simulated network    sockets: simulated provider

    vocabulary: how answers misbehave
        faults         the texts that name them, read with `effect_words`, `values`
        effects        what may go wrong with one answer, as values; `distortion` does
                       it to a script, with `bodies` and `tempo`
        script         what a provider does with one request, as a value
        answers        good ones; bad ones are `errors`, in the forms of `error_forms`
        climate        when faults reign
    worlds: what reigns where
        world          targets, their spells of weather, and clients, as values
        weather        which fault strikes which request; `presets`: real incidents by
                       name; `onsets`: what an outage does to what is open
        supply         what a target gives an attempt: an `outline`, in times of a
                       `spread`; `line`: who waits for a slot of it
    simulation (`trio-gateway simulate`)
        simulator      the production engine under virtual time, deed by deed (`agenda`)
        dials          what comes of an attempt
        crowd          clients: when they come, what they want, how they ask again
        history        what was told to an engine; `invariants`: what must always hold
        tally          what it all came to
    the simulated network (`--depth wire`)
        network        byte streams in memory; `clock`: time that passes in waits alone
    provider (`trio-gateway upstream`)
        server         plays scripts over HTTP/1.1 (`http1`), a `connection` at a time,
                       on `slots` in `turns`
        door           its port, really shut while it is down; `certificates` for TLS
        control        faults and log over HTTP; `sky`: the weather it has been told of;
                       `seen`: an entry of its log
    around them
        scenarios      files with a policy, weather, clients and what is expected
        page           a run as a page for a browser
        upstream       scripts behind the relay's port, without a byte of HTTP

Each imports only from those above it. By decisions and by wire, one request has the
same luck: both draw it from its name.
"""
