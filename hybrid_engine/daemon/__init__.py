"""The daemon: small loops, each with one reason to wake, on one reactor."""
