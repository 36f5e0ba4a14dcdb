"""nnbench: does a weight generator write robot policies that work, on architectures it never saw?"""

if __name__ != "nnbench":
    raise ImportError("import nnbench (pip install -e .), not the folder 'benchmark'")
