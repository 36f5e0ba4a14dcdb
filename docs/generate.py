"""Write the generated parts of README.md and of these pages anew: python docs/generate.py

A generated part stands between `<!-- nnbench ... -->` and `<!-- end -->`. The first comment is the command that prints
it. A picture is drawn by the command in the comment above it. With --check nothing is written: exit 1 where a page
differs from what its commands print. Pictures are not compared.

The commands run in an empty folder, so that they read only the rows that ship with nnbench.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PRINTED = re.compile(r"(<!-- (nnbench table[^\n]*?) -->\n).*?(<!-- end -->\n)", re.DOTALL)
DRAWN = re.compile(r"<!-- (nnbench (?:figure|report) [^\n]*) -->\n")


def run(command: str, folder: Path) -> str:
    """What a command prints in this folder. Exits where it fails."""
    done = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def main() -> None:
    check = "--check" in sys.argv[1:]
    different = []
    with tempfile.TemporaryDirectory() as empty:
        for page in PAGES:
            text = page.read_text()
            generated = PRINTED.sub(
                lambda found: f"{found[1]}\n{run(f'{found[2]} --format md', Path(empty)).strip()}\n\n{found[3]}", text
            )
            if generated != text:
                different.append(str(page.relative_to(ROOT)))
                if not check:
                    page.write_text(generated)
            for command in DRAWN.findall(text) if not check else []:
                run(command, ROOT)
    if different:
        print(f"{'differ from the rows' if check else 'written'}: {', '.join(different)}")
    if check and different:
        sys.exit("run `python docs/generate.py`")


if __name__ == "__main__":
    main()
