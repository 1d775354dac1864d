"""How a network runs: Brian 2 networks, the compiled engine, and their agreement."""
