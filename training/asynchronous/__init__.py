"""Learning of asynchronous networks by unlayered backpropagation."""
