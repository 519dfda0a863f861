"""Lets torchvision be imported beside a CPU-only build of torch. Import this module before torchvision.

torchvision's wheels on the public index are linked with CUDA. Beside a CPU build of torch their compiled operators do
not load, and `import torchvision` fails with `operator torchvision::nms does not exist`, because it registers fake
kernels for operators that are not there. Nothing in this project calls them: declaring the two schemas is enough.
Where the operators did load, nothing is done.
"""

from importlib.machinery import PathFinder
from importlib.util import find_spec

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
# Kept alive: a Library takes its schemas back when it is collected.
declared: list[torch.library.Library] = []


def declare_missing_operators() -> None:
    """Load torchvision's operators as torchvision itself would; declare what did not load."""
    package = find_spec("torchvision")
    assert package is not None, "torchvision is a dependency"
    compiled = PathFinder.find_spec("torchvision._C", package.submodule_search_locations)
    if compiled is not None and compiled.origin is not None:
        try:
            torch.ops.load_library(compiled.origin)
        except OSError:
            pass  # linked with a CUDA runtime that this torch does not bring
        else:
            return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    declared.append(library)


declare_missing_operators()
