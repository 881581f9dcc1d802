"""`make mutants`: modules are changed in one small place at a time, to see whether their tests notice."""
