"""Scenarios: a policy, weather, clients and what is expected, and how to run them.

From a file to a verdict:

    load           a file, read by `reading`; `policies`: the policy it is about
        forecast       what may go wrong; `spreads`: how long things take
        crowds         the clients; `expect`: what is held against the policy
    worlds         both made into a world
    run            played by decisions, with a `witness` of single exchanges
    wire           played with all bytes, by `wire_clients` and `wire_targets`;
                   `visitors`: who comes, there as on sockets
    stage          its targets as simulated providers, for sockets
    measure        the numbers that expectations are about
    texts          a run in plain text; `report`: as JSON
    schema         the format for editors, by its `forms`; `reference`: for people
"""
