"""The screens. The only textual."""
