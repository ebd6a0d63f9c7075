"""The commit log: where facts become durable, and what follows from them on disk. See docs/internals.md."""
