"""Where attempts run on this machine: shell steps in sessions of their own, functions in warm worker processes."""
