"""CUDA launches are captured once and replayed: launching a small model's kernels takes longer than running them."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from dvgs.progress import logger

_failed = False  # whether a capture failed; then torch's allocator may still be capturing, so none is tried again


class Captured:
    """A GradientSimilarity on CUDA whose launches are captured: one graph for each number of samples.

    The model's parameters must change in place only. The result of a new graph is compared with that of usual launches.
    If the capture fails, or the results differ, everything is launched as usual.
    """

    def __init__(self, engine: Any):
        self._engine, self._works = engine, True
        self._graphs: dict[tuple, _Graph] = {}

    def __call__(
        self, x: torch.Tensor, y: torch.Tensor, target_gradient: list[torch.Tensor], target_squared: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        if _failed or not self._works:
            return self._engine(x, y, target_gradient, target_squared)
        key = len(x), torch.is_autocast_enabled("cuda"), torch.get_float32_matmul_precision()
        if key not in self._graphs:
            return self._capture(key, x, y, target_gradient, target_squared)
        return self._graphs[key](x, y, target_gradient, target_squared)

    def _capture(self, key, *arguments):
        expected = self._engine(*arguments)
        self._works = self._engine.is_static
        if not self._works:
            return expected
        stream = torch.cuda.current_stream()
        try:
            graph = _Graph(self._engine, *arguments)
            found = graph(*arguments)
        except RuntimeError as error:
            _recover(stream, error)
            return expected
        self._works = all(torch.allclose(found[name], expected[name], 1e-4, 1e-6) for name in expected)
        if not self._works:
            return expected
        self._graphs[key] = graph
        return found


class _Graph:
    def __init__(self, engine, x, y, target_gradient, target_squared):
        self._x = x.clone()
        self._y = self._x if y is x else y.clone()
        self._gradient = [g.clone() for g in target_gradient]
        self._squared = target_squared.clone()
        self._last = target_gradient
        _on_another_stream(lambda: engine(self._x, self._y, self._gradient, self._squared))
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            found = engine(self._x, self._y, self._gradient, self._squared)
            self._names, self._found = list(found), torch.stack(list(found.values()))

    def __call__(self, x, y, target_gradient, target_squared):
        self._x.copy_(x)
        if self._y is not self._x:
            self._y.copy_(y)
        if target_gradient is not self._last:  # once a step, not once a chunk
            for kept, g in zip(self._gradient, target_gradient, strict=True):
                kept.copy_(g)
            self._squared.copy_(target_squared)
            self._last = target_gradient
        self._graph.replay()
        return dict(zip(self._names, self._found.clone(), strict=True))


class CapturedStep:
    """A step without arguments on CUDA, called many times: launched as usual at first, then captured and replayed.

    The tensors that it reads and writes must stay at their places in memory. If the capture fails, the step is launched
    every time.
    """

    LAUNCHED = 3  # times before the capture: torch requires that the work has run before

    def __init__(self, step: Callable[[], None]):
        self._step, self._done = step, 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self._graph:
            self._graph.replay()
        elif _failed:
            self._step()
        elif self._done < self.LAUNCHED:
            self._done += 1
            _on_another_stream(self._step)
        else:
            self._capture()

    def _capture(self):
        stream, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._step()
        except RuntimeError as error:
            _recover(stream, error)
            self._step()
        else:
            self._graph = graph
            graph.replay()


def _on_another_stream(step):
    """Run a step on another stream, as torch requires before a capture."""
    stream = _other_stream(torch.cuda.current_device())
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)


@cache
def _other_stream(device):
    """Always the same stream, because cuBLAS keeps memory for every stream."""
    return torch.cuda.Stream(device)


def _recover(stream, error):
    """Log that a capture failed, and restore the stream and the random generator that it may have changed."""
    global _failed
    _failed = True
    torch.cuda.set_stream(stream)
    torch.cuda.synchronize()
    generator = torch.cuda.default_generators[stream.device.index]
    generator.graphsafe_set_state(torch.Generator(stream.device).graphsafe_get_state())
    logger.info("launches are not captured: %s", str(error).splitlines()[0])
