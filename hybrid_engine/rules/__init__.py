"""The rules: pure functions over the model. No file, no process, no clock, no dice; `now` is handed in."""
