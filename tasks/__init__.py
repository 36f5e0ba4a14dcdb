"""Tasks and the policies that solve them: environments, simulation, architectures and splits, experts, zoos."""

if __name__ != "nnbench.tasks":
    raise ImportError("import nnbench.tasks (pip install -e .), not the folder 'tasks'")
