"""Pairs as data: the row format, import, store, query, split. No torch, no textual."""
