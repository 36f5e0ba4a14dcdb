"""Weight generators: one file a method, found by its file name and imported only when named."""

if __name__ != "nnbench.methods":
    raise ImportError("import nnbench.methods (pip install -e .), not the folder 'methods'")
