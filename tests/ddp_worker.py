# SPDX-License-Identifier: Apache-2.0
"""One rank of the test-suite's process pool; ``conftest.py`` starts it, see the fixture ``ddp``.

A script and not a module to import: test modules have no importable name (import-mode=importlib), so
each task names its function by file and qualified name and this process loads the file itself.
"""

import importlib.util
import pickle
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist


def load(path: str, name: str) -> ModuleType:
    """The module in a file, once per process, under the name that it has in the parent."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Registered first, so that pickled classes of the module are found by name.
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def main(fd: str, rank: str, world: str, store: str) -> None:
    """Serve tasks until the parent closes the pipe."""
    pipe: Connection[Any, Any] = Connection(int(fd))
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=int(rank),
        world_size=int(world),
        timeout=timedelta(seconds=60),
    )
    while True:
        try:
            path, name, qualname, payload = pipe.recv()
        except EOFError:
            break
        try:
            function: Callable[..., Any] | ModuleType = load(path, name)
            for part in qualname.split("."):
                function = getattr(function, part)
            assert callable(function)
            result = function(int(rank), int(world), *pickle.loads(payload))
            answer = (True, pickle.dumps(result))
        except BaseException:
            answer = (False, traceback.format_exc())
        pipe.send(answer)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
