"""The ground floor: shapes and words. No I/O, no clock, no dice; nothing here imports anything above it."""
