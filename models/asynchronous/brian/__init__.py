"""Asynchronous networks as Brian 2 networks: clock-driven by forward steps, event-driven in continuous time."""
