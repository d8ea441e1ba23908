"""Makes `import torchvision` work beside a libtorch that it was not built for: its Python transforms need only the operators' names."""

import importlib.util
import pathlib
import re

import torch

_libraries = []


def prepare_torchvision():
    try:
        # Registers the operators when the wheel fits.
        import torchvision  # noqa: F401

        return
    except (RuntimeError, OSError):
        pass
    library = torch.library.Library("torchvision", "DEF")
    _libraries.append(library)
    folder = pathlib.Path(importlib.util.find_spec("torch").submodule_search_locations[0]).parent
    source = (folder / "torchvision/_meta_registrations.py").read_text()
    found = re.findall(r'register_meta\("(\w+)"\)|register_fake\("torchvision::(\w+)"\)', source)
    for name in sorted({first or second for first, second in found}):
        library.define(f"{name}(Tensor a) -> Tensor")
