"""What to do next: decisions that cannot await, read no clock and roll no die.

One exchange asks, and the fleet remembers what all have learned:

    the relay, the simulator --events--> engine --commands--> (dial, drop, wake, commit)
                                           |  ^
                            starts, ends   v  |  health, room, order
                                         fleet

    of one exchange
        engine         told what happened, it says what to do; `events`, `commands`
        case           what is asked, of whom, since when; `attempts`: what was tried
        candidates     whom next? in the order of `lineup`, within a tier of `balancer`
        deadlines      when each wait must end
        waiting        for a backoff (`retry`), a throttle's end, or in line for a slot
        doubling       beside which? overlap and hedge, as far as `spend` allows
        refusal        how it ends without an answer
    of all targets
        fleet          whom every engine asks and informs
        health         one target's: its machines, put together
        breaker        learned from outcomes, over a `window` and the last `run`; how
                       long it stays open is `openings`
        cooldown       told to stay away, or out of use; `domains`: they fall together
        quantile       how long answers take, and the limits that follow from it
        budget         how much trying again is allowed
        limiter        how much at once; `lines`: who waits for a slot
        noise          which refusals say nothing: for `cooldown` and `limiter`
        shedding       whom to turn away at the door, for the process itself
        succession     what another policy still remembers
    words
        failures       the classes of failures; `classify`: what each means
    for others
        view           what an operator sees
        rehearsal      one exchange through a history that is made up
"""
