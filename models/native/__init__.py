"""What every compiled engine shares: generating C++, compiling it once per content, calling it."""
