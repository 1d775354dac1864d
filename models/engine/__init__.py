"""Compiled engines: C++ generated from the equation strings, compiled once and cached by content."""
