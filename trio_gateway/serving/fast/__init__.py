"""Our own serving loop: HTTP/1.1 near the floor of what Trio costs.

From the bytes up, each floor knowing only those below it:

    head, body, response   HTTP as values, without I/O
    sweeper, hangup        deadlines and departures, for all connections at once
    wire                   the seam: how bytes come and go, and that a client left; of
                           three kinds: socket_wire, tls_wire, stream_wire
    client                 one client's bytes, and whether it is there
    exchange               one request, as the app sees it through ASGI
    connection             one request after the other
    loop                   all connections, and what they have in common (shared)

One task serves a connection. A request costs it one wait for its bytes, one parse, the
app, and one write: no task, no scope, no timer and no call for what seldom happens.
"""
