"""An OpenAI-compatible failover gateway on Trio.

Four floors, imports only go down: pure decisions (`policy`, `failover`, `wire`,
`providers`), the relay (`relay`, `telemetry`, `access`), the network (`upstream`,
`chaos`) and the door (`web`, `serving`, `cli`, and `bench` before it).
"""
