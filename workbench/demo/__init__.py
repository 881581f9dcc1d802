"""The whole loop, started: on the embedded model; and where a real one comes from."""
