"""Weight generators: one file or folder per method, found by its name and imported only when asked for."""

if __name__ != "nnbench.methods":
    raise ImportError("import nnbench.methods (pip install -e .), not the folder 'methods'")
