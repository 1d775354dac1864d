"""What every event loop shares: schedulers, keys, draws, stop rules, the tape, queues, the driver."""
