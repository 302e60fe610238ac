"""How apps are served to strangers: HTTP on Trio, in Hypercorn's frame.

`process` runs a whole process (signals, drain, exit code), `server` serves one app on
listeners or on any byte stream. Bytes become requests in one of two loops that keep the
same promises: `fast`, our own, or Hypercorn's protocol, hardened (`hypercorn_loop`,
`connection`, `protocol`), which also has HTTP/2 beside it (`http2`). It knows ASGI and
bytes, and nothing of what the app is for.
"""
