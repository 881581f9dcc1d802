"""Requests to and replies from the scorer, and what is computed from them. No torch, no textual."""
