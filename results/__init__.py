"""Reference rows, which ship with the package; what `nnbench run` stores in a clone lies beside them."""
