"""Several processes behind one address, and the small one that looks after them.

                       +--- supervisor: signals, the policy's files, admin listener
     clients           |         | line (a socket pair) to each
        |              |         v
        +--> one listening socket ==> worker 0, worker 1, ... each a whole gateway

The supervisor binds, starts workers, and serves no client. A worker is a fresh
interpreter, never a fork of a running loop. It inherits the listening socket and its
end of the *line*, which is three things at once: orders and answers, the worker's word
that it is ready, and its lifeline: when the supervisor is gone, the line ends, and the
worker drains.

*One socket, inherited* and not one each with SO_REUSEPORT: connections that wait to be
accepted belong to nobody yet. A worker that is killed, or leaves in a rolling restart,
takes none of them with it, and one that is busy leaves them to the others. Nor is there
a moment at which nobody listens. The price is fairness: who wakes up first would accept
all that is there. `turns` mends that: of 64 kept connections that came at once, four
workers got 50, 8, 5 and 1 without it in the worst of three rounds, and 35, 12, 10 and 7
with it, or 18, 16, 15 and 15 in the best. (A hash, which is what SO_REUSEPORT shares
by, gave 14 to 38 per cent.)

*Slots.* Worker number n is whoever is in slot n. One task keeps each slot filled:

    empty --start--> starting --ready--> serving --renewal, and the next is ready--+
      ^                 | dies, or is       | dies                                 |
      |                 | too late          |                          the next serves,
      +---- a delay ----+-------------------+  (`restarts`)            this one drains

A rolling restart renews one slot after the other, and stops at the first whose new
worker does not become ready: the old one has not been told yet, and goes on.

This package knows processes, not gateways: what a worker is told, and what it answers,
are values that it passes on.

    restarts     when to start again: pure
    messages     what is said over the line
    line         values as bytes over a stream
    child        a worker, as the supervisor sees it
    turns        who accepts a connection
    supervisor   slots, rolling restart, drain
    worker       the supervisor, as a worker sees it
"""
