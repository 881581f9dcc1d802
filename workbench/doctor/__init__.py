"""What this machine can run, and what is missing, with the way out of it. No torch, no textual."""
