"""How a network learns: losses, the gradients, optimisers, the loop, data and the command line."""
