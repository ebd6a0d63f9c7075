"""The imperative shell around the core: runs, slots, commits, recovery. What is durable is decided here alone."""
