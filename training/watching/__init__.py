"""What is said while something runs: how far it is, and whether it goes anywhere."""
