"""The identity of a method that is given as a class: its source text, so that an edited class is another method."""

import hashlib
import inspect

from nnbench.errors import InputError


def hash_code(method: type) -> str | None:
    """Hash of the source text of a class and its bases; None where all of them ship with nnbench.

    What the class calls outside its own body is left out. Raises InputError where Python does not know the text.
    """
    own = [part for part in method.__mro__ if part is not object and not _ships(part)]
    return hashlib.sha256("\n".join(map(_source_text, own)).encode()).hexdigest() if own else None


def _ships(part: type) -> bool:
    return part.__module__.split(".")[0] in ("nnbench", "typing", "abc")


def _source_text(part: type) -> str:
    try:
        return inspect.getsource(part)
    except (OSError, TypeError):
        pass
    # Python finds no class of a notebook, whose module has no file, but it finds the cells of its functions.
    texts = []
    for name, value in sorted(vars(part).items()):
        function = getattr(value, "__func__", value)
        if inspect.isfunction(function):
            try:
                texts.append(inspect.getsource(function))
            except (OSError, TypeError) as error:
                raise InputError(
                    f"class {part.__qualname__}: Python does not know the source text of `{name}`; define the class "
                    "in a file or in a cell of a notebook"
                ) from error
        elif not name.startswith("__"):
            texts.append(f"{name} = {value!r}")
    return "\n".join(texts)
