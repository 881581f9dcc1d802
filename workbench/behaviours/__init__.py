"""Behaviours of answers (refusing, helpful, empty …), told apart by rules that are data, wherever answers are told."""
