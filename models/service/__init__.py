"""C++ standalone as a service: one build per architecture, many samples per process, several processes."""
