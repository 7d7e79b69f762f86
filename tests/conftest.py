# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures: the device and type options, a seed per test, and a pool of two gloo processes."""

import os
import pickle
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

WORKER = Path(__file__).with_name("ddp_worker.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", default="cpu", help="device of the tests that ask for one: cpu, cuda, cuda:1"
    )
    parser.addoption("--dtype", default="float32", help="torch type of the tests that ask for one")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What a test draws from a global generator does not depend on the tests that ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    found = getattr(torch, request.config.getoption("--dtype"))
    assert isinstance(found, torch.dtype)
    return found


class Pool:
    """Processes with one gloo group, started at the first call, restarted after a failure."""

    def __init__(self, world: int = 2, timeout: float = 120) -> None:
        self.world = world
        self.timeout = timeout
        self.processes: list[subprocess.Popen[bytes]] = []
        self.pipes: list[Connection[Any, Any]] = []

    def __call__(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Run ``function(rank, world, *args)`` on every rank; the results in rank order.

        The function must be reachable by its name in its module: no lambda, nothing defined inside
        a function. Arguments and results are pickled.
        """
        if "<" in function.__qualname__:
            raise TypeError(
                f"{function.__qualname__} is local; ddp needs a function at the top of its module."
            )
        if not self.processes:
            self._start()
        path = function.__code__.co_filename
        task = (path, function.__module__, function.__qualname__, pickle.dumps(args))
        for pipe in self.pipes:
            pipe.send(task)
        answers = self._answers()
        if len(answers) < self.world or any(process.poll() is not None for process in self.processes):
            # A rank is dead or waits in a collective: the next call gets a new group.
            self.stop()
        for rank, (good, answer) in sorted(answers.items()):
            if not good:
                raise RuntimeError(f"{function.__qualname__} failed on rank {rank}:\n{answer}")
        if len(answers) < self.world:
            raise RuntimeError(f"{function.__qualname__}: only ranks {sorted(answers)} answered.")
        return [pickle.loads(answers[rank][1]) for rank in range(self.world)]

    def _answers(self) -> dict[int, tuple[bool, Any]]:
        """(success, pickled result or traceback) of each rank that answers in time."""
        deadline = time.monotonic() + self.timeout
        answers: dict[int, tuple[bool, Any]] = {}
        while len(answers) < self.world and time.monotonic() < deadline:
            for rank, pipe in enumerate(self.pipes):
                if rank in answers or not pipe.poll(0.01):
                    continue
                try:
                    answers[rank] = pipe.recv()
                except EOFError:
                    answers[rank] = (False, "the process died.")
                if not answers[rank][0]:
                    # The others either finish soon as well or wait for this rank for ever.
                    deadline = min(deadline, time.monotonic() + 3)
        return answers

    def _start(self) -> None:
        store = Path(tempfile.mkdtemp()) / "store"
        for rank in range(self.world):
            ours, theirs = Pipe()
            command = [
                sys.executable,
                str(WORKER),
                str(theirs.fileno()),
                str(rank),
                str(self.world),
                str(store),
            ]
            self.processes.append(
                subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], env={**os.environ, "OMP_NUM_THREADS": "1"}
                )
            )
            theirs.close()
            self.pipes.append(ours)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        for pipe in self.pipes:
            pipe.close()
        self.processes, self.pipes = [], []


@pytest.fixture(scope="session")
def ddp() -> Iterator[Pool]:
    """``ddp(function, *args)`` runs ``function(rank, world, *args)`` on two gloo ranks."""
    pool = Pool()
    yield pool
    pool.stop()
