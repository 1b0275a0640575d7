"""CUDA launches captured once and replayed: a small model's kernels take less time than their launches."""

import torch

from dvgs.jobs import logger


class Captured:
    """A GradientSimilarity on CUDA whose launches are captured, one graph for each number of samples.

    The model's parameters must change in place only. What the graph gives is compared with what it was captured from;
    where that cannot be captured, or differs, everything is launched as usual.
    """

    def __init__(self, engine):
        self._engine, self._graphs, self._works = engine, {}, True

    def __call__(self, x, y, target_gradient):
        if not self._works:
            return self._engine(x, y, target_gradient)
        key = len(x), torch.is_autocast_enabled("cuda"), torch.get_float32_matmul_precision()
        if key not in self._graphs:
            return self._capture(key, x, y, target_gradient)
        return self._graphs[key](x, y, target_gradient)

    def _capture(self, key, x, y, target_gradient):
        expected = self._engine(x, y, target_gradient)
        self._works = self._engine.is_static
        if not self._works:
            return expected
        stream = torch.cuda.current_stream()
        try:
            graph = _Graph(self._engine, x, y, target_gradient)
            found = graph(x, y, target_gradient)
        except RuntimeError as error:
            torch.cuda.set_stream(stream)  # where a capture that failed does not return by itself
            torch.cuda.synchronize()
            logger.info("launches are not captured: %s", str(error).splitlines()[0])
            self._works = False
            return expected
        self._works = all(torch.allclose(found[name], expected[name], 1e-4, 1e-6) for name in expected)
        if not self._works:
            return expected
        self._graphs[key] = graph
        return found


class _Graph:
    def __init__(self, engine, x, y, target_gradient):
        self._x = x.clone()
        self._y = self._x if y is x else y.clone()
        self._gradient = [g.clone() for g in target_gradient]
        self._last = target_gradient
        stream = torch.cuda.Stream()  # capture wants what it captures to have run on another stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                engine(self._x, self._y, self._gradient)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = engine(self._x, self._y, self._gradient)

    def __call__(self, x, y, target_gradient):
        self._x.copy_(x)
        if self._y is not self._x:
            self._y.copy_(y)
        if target_gradient is not self._last:  # once a step, not once a chunk
            for kept, g in zip(self._gradient, target_gradient, strict=True):
                kept.copy_(g)
            self._last = target_gradient
        self._graph.replay()
        return {name: value.clone() for name, value in self._found.items()}
