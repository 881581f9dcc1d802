"""What is wrong with a data set of pairs, which pairs those are, and what to do about it.

`run` has the checks, `background.PairChecks` runs them beside a screen, `repairs.repair_for` makes the change that
mends a finding. Nothing here changes a file, opens a screen or loads a model.
"""
