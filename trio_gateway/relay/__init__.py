"""Where decisions meet awaits: one client's exchange, from admission to record.

Who does what, in the order of a request's way:

    admission          who asked, and under which names
    relay              what all exchanges share
    exchange           the one loop that performs what the engine says
    upstream_request   one attempt, from its dial to its commit point
    port               what it needs of a network; `letterhead`: how its requests begin
    opening            an answer up to that point; `passage`: what of a stream may pass
    pump               the answer after it
    record             what came of it all, put together by `recording`
    late_nursery       tasks beside an exchange's own, which most never need
    lag                how late the event loop is

How waits end here, and which module to ask for it. A scope around each would do; but it
costs more than all else that is done for a token, and hardly any limit ever comes.

    this one wait, on the      `trio.move_on_at`: up to the first token, after the last,
    rarer ways                 and where something went wrong
    each of a stream's waits   `patience`: one scope and one alarm for all of them; the
                               limit that holds is that of the wait under way
    none: tell me then         `alarms`: a call at an instant, which cancels nothing by
                               itself; what the engine asks for, an attempt's hard limit
    all of one attempt's,      `leash`: cut from outside, by an alarm or for the engine;
    once nobody wants it       whoever waits has said what lets go of it
    everybody's, because the   `curfew`: whoever keeps limits is entered there and told,
    process must end           and then moves its patience or its alarm nearer

A client that leaves needs none of these: it cancels the exchange from outside.
"""
