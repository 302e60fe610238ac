"""The simulated provider: plays scripts over sockets, for `trio-gateway upstream`."""
