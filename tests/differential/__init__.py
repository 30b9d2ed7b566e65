"""The differential tester: one random sequence of socket calls over two processes, on the kernel and under Byway.

`case` says what a sequence is, `generate` makes one from a seed, `run` executes it through two agents (agent.c),
`compare` judges two runs, `check` repeats runs until it is clear whether a difference is Byway's, `shrink` makes a
differing sequence small. `python -m tests.differential --help` has the command line.
"""
