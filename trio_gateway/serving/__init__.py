"""How apps are served to strangers: HTTP on Trio, by one of two loops.

Both keep the same promises. All of this knows ASGI and bytes, and nothing of what the
app is for.

    process        a whole process: signals, drain, exit code; `lifespan`: an app's own
    server         one app, on listeners or on any stream of bytes
    fast           our own loop: HTTP/1.1
    hypercorn_loop Hypercorn's protocols, hardened
        connection     one, in Hypercorn's frame; it speaks (`speech`) either version
        protocol       HTTP/1.1; `http2`: the other one
        context        what connections know of each other
    workers        several processes behind one address
    for both loops
        limits         how much of us a stranger may use
        tls            certificates; `validity`: their dates; `handshakes` that failed
        refusals       what is answered without the app
        inbox          what waits to be taken by it
        linger         a close that destroys no answer
        addresses      who talks to whom
        failure_log    what broke, in few and short lines
    for the process
        awake          a clock that stands still while the process does
        collector      Python's, told what a serving process is like
"""
