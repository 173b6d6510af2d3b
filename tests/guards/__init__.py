"""Guards taken away one by one: a guard whose absence no test notices is none.

`guards.yaml` lists each with the text that is it, what stands in its place when it is gone, and the test
that must then fail. `python -m tests.guards [WORD…]` does so for all, or for those with these words, in
copies of the tree.
"""
