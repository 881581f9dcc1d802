"""The life of a run as files: events, folder, state, process. No torch, no textual."""
