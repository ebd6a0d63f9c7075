"""Proof of durability: faults at every file operation, modelled power loss, and an oracle. See README.md here."""
