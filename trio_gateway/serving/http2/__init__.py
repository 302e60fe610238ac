"""HTTP/2 in Hypercorn's frame: many requests on one connection, each on its own.

It keeps every promise of HTTP/1.1's. A client's departure, which here is RST_STREAM or
the connection's end, cancels its exchange at once, and nobody else's. An answer that is
cut is reset, never ended. What a client could make grow or last has a bound.

Hypercorn's own `H2Protocol` (0.18) can not keep them, so of it nothing is used; Config,
events and `HTTPStream`, which is ASGI's side of a request, are. In it,

- frames wait for apps: one that does not read its body stops all streams, and hides
  their departures;
- an answer that its app leaves unfinished is neither ended nor reset: clients wait;
- a frame of data on a stream that has ended raises KeyError, and so ends the server;
- the thousandth request of a connection closes h2's state, and cuts all open streams;
- a client that opens no window holds its answer for ever, one that says GOAWAY while
  it is written to ends the server, and floods of any frame are answered.

`protocol` is one connection, `stream` one request and its answer. Below them, `frames`
is h2's state machine with its growth bounded, by `calm` among others; `way_out` takes
turns at writing, `stream_inbox` holds a body; `head` judges requests.
"""
