"""What is wrong with a data set of pairs, which pairs those are, and what to do about it.

`run.run_checks` runs the checks, `repairs.repair_for` makes the change that mends a finding, `catalog` says what each
check looks for. Nothing here changes a file, opens a screen or loads a model.
"""
