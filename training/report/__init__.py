"""One self-contained page about a run, or about two side by side."""
