"""Networks of the user's own Brian 2 objects in continuous time: the event-located reference and its adjoint."""
