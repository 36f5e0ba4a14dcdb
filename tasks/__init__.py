"""What is generated for: environments, simulation, architectures and splits, expert, GHN ensemble, zoo."""

if __name__ != "nnbench.tasks":
    raise ImportError("import nnbench.tasks (pip install -e .), not the folder 'tasks'")
