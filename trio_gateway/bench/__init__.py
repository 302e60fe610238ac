"""What a request through the gateway costs on this machine, beside a plain relay.

Four kinds of processes on loopback, so that each one's CPU time is its own:

    client --> product    (our `serve`, a real policy, log, metrics, admin)  --> mock
    client --> yardstick  (Quart-Trio + Hypercorn + httpx, written plainly)  --> mock
    client ---------------------------- direct ----------------------------> mock

Absolute times belong to a machine and a minute. So the product and the yardstick are
measured in turn, round by round, and what is promised is a ratio. With two or more CPUs
the gateways have one for themselves, and mock and client another.

    loads      what is asked, and what a good answer is
    mock       the upstream, as cheap as Python allows
    yardstick  what one would write first
    client     asks, checks every answer, and reads the CPU time between two silences
    processes  what Linux says about them
    systems    starts them
    run        interleaves, and keeps every sample
    report     targets, a table, JSON
    profile    where the product's time goes

To see that: `trio-gateway bench --profile FILE --only requests` runs the product under
cProfile and prints own time by package and by function, for each answer; FILE is for
pstats or a viewer. Python's profiler charges each call, so believe its order and not
its microseconds. A sampling profiler disturbs less: `serve` is an ordinary process, and
`--only requests --seconds 60` leaves time to attach one.
"""
