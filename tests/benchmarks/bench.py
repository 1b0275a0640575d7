"""Speed and memory as ratios within one run: our code against the obvious way, and against the least possible time.

The functions that a line compares are timed in turn, so that a slow moment of the machine affects all of them.
"""

import argparse
import copy
import ctypes
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import numpy as np
import torch
from ratios import line, seconds, status, synchronise
from scipy.stats import spearmanr
from torch.profiler import ProfilerActivity, profile
from ways import (
    MODELS,
    by_vmap,
    cross_entropy,
    ours,
    passes_alone,
    prepare,
    products_alone,
    published_autoencoder,
    published_way,
    target_gradient,
)

from dvgs.devices import PRECISIONS, in_precision, keep_freed_memory, pick_device
from dvgs.gradients import GradientSimilarity
from dvgs.training.fit import fit, predict
from dvgs.training.models import (
    make_autoencoder,
    make_classifier,
    reconstruction_loss,
)
from dvgs.training.schedule import Schedule
from dvgs.training.stacked import fit_together, group_size, predict_together
from dvgs.valuation.scoring import CHUNK_BYTES, ScoreSettings, score
from dvgs.valuation.shards import Shard
from dvgs.valuation.trajectory import Trajectory, TrajectorySettings, record_trajectory

FEW = 16  # trainings one by one, because more would take minutes; their seconds are multiplied


def bench_against_vmap(device):
    """Against vmap as the paper's code uses it (chunks of 512, torch's usual allocator), and against vmap at its best.

    At its best means small chunks, sums layer by layer instead of joined gradients, and an allocator that keeps its
    pages (devices.keep_freed_memory), as for our code.
    """
    for name, (_, wanted) in MODELS.items():
        published = in_fresh_process("--vmap-of", name, "--device", device.type)
        fast, passes, best, chunk = time_of_ours_and_vmap(name, device)
        figure = f"{published / fast:.0f}x ({fast:.2f} and {published:.0f} us)"
        line(f"{name}: vmap as published / ours, a gradient", figure, f">= {wanted}x", published / fast >= wanted)
        line(f"    vmap at its best, in chunks of {chunk} / ours", f"{best / fast:.1f}x ({best:.0f} us)")
        figure = f"{published / passes:.0f}x ({passes:.2f} us)"
        line("    vmap as published / the model's two passes alone: the largest possible gain", figure)
        if name == "conv autoencoder":
            model, loss, x, y, gradient = prepare(name, device)
            print(f"    ours: {profile_of(ours(model, loss, x, y, gradient), device)}", flush=True)
            print(f"    the two passes alone: {profile_of(passes_alone(model, loss, x, y), device)}", flush=True)


def time_of_ours_and_vmap(name, device):
    """Microseconds a gradient: ours, the model's two passes alone, and vmap with the chunks that are fastest for it."""
    model, loss, x, y, gradient = prepare(name, device)
    few = 128 if device.type == "cpu" else 1024
    candidates = {chunk: by_vmap(model, loss, x[:few], y[:few], gradient, chunk) for chunk in (8, 32, 128)}
    chunk, _ = min(zip(candidates, seconds(list(candidates.values()), device, 2), strict=True), key=lambda t: t[1])
    runs = [ours(model, loss, x, y, gradient), passes_alone(model, loss, x, y), candidates[chunk]]
    fast, passes, best = seconds(runs, device, 5)
    return 1e6 * fast / len(x), 1e6 * passes / len(x), 1e6 * best / few, chunk


def profile_of(run, device):
    """The operators (on a GPU: kernels) that take most of a function's time, with their shares, as text."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as found:
        run()
        synchronise(device)
    taken = {o.key: o.self_device_time_total if cuda else o.self_cpu_time_total for o in found.key_averages()}
    longest, whole = sorted(taken, key=taken.get, reverse=True)[:6], sum(taken.values())
    return ", ".join(f"{short_name(key)} {taken[key] / whole:.0%}" for key in longest)


def short_name(key):
    """A readable name of a kernel: the full names are templates of hundreds of letters."""
    words = re.findall(r"\w*(?:gemm|Functor|Ops|mish|conv|copy|Memcpy|Memset|catch|kernel)\w*", key)
    return key.removeprefix("aten::") if len(key) < 40 else (words or [key])[-1][:40]


def in_fresh_process(*options):
    command = [sys.executable, __file__, *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def vmap_of(name, device):
    """Microseconds a gradient of the published way, with its chunks of 512 and torch's usual allocator."""
    model, loss, x, y, gradient = prepare(name, device)
    n = 512
    print(1e6 * seconds([published_way(model, loss, x[:n], y[:n], gradient, n)], device, 2)[0] / n)


def bench_memory():
    need = {way: in_fresh_process("--memory-of", way) for way in ("ours", "vmap")}
    ratio = need["vmap"] / need["ours"]
    figure = f"{ratio:.0f}x ({need['ours']:.0f} and {need['vmap']:.0f} MiB)"
    line("published autoencoder: vmap / ours, peak memory of a chunk of 512", figure, ">= 10x", ratio >= 10)


def memory_of(way):
    """Peak memory of one chunk in MiB, besides model and data."""
    torch.manual_seed(0)
    model, loss, x, _ = published_autoencoder(torch.device("cpu"))
    x = x[:512]
    gradient = target_gradient(model, loss, x[:100], x[:100])
    run = (ours if way == "ours" else by_vmap)(model, loss, x, x, gradient, 512)
    ctypes.CDLL(None).malloc_trim(0)  # freed memory must not count
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak up to here
    run()
    print((status("VmHWM") - before) / 1024)


def bench_floor(device):
    torch.manual_seed(0)
    model, loss, x, y = published_autoencoder(device)
    gradient = target_gradient(model, loss, x[:500], y[:500])
    runs = [ours(model, loss, x, y, gradient), products_alone(model, x, gradient, 16384 if x.is_cuda else 1024)]
    full, floor = (1e6 * s / len(x) for s in seconds(runs, device, 25))
    figure = f"{full / floor:.2f}x ({full:.2f} and {floor:.2f} us)"
    line("published autoencoder: ours / its matrix products alone, float32", figure, "<= 1.4x", full / floor <= 1.4)


def bench_precision(device):
    """Speed and accuracy of the values in each precision, along a short training of the published model."""
    torch.manual_seed(0)
    x, target = torch.randn(4096, 60) @ torch.randn(60, 978), torch.randn(500, 60) @ torch.randn(60, 978)
    x, target = x / x.std() + 0.5 * torch.randn_like(x), target / target.std()
    precisions, values = ("float32", "bf16"), {}
    with tempfile.TemporaryDirectory() as folder:
        path = record(Path(folder), device, target, 40)
        with Trajectory(path, device="cpu") as trajectory:
            exact = float64_values(trajectory, x)

        def run(name):
            with Trajectory(path, device=device) as trajectory:
                read = lambda start, stop: (x[start:stop],) * 2  # noqa: E731
                values[name] = score(
                    trajectory, reconstruction_loss, read, Shard.of(len(x)), ScoreSettings(precision=name)
                )["cosine"]

        taken = dict(zip(precisions, seconds([partial(run, name) for name in precisions], device, 3), strict=True))
        profiles = {name: profile_of(partial(run, name), device) for name in precisions}
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    for name in precisions:
        found = values[name].to_numpy()
        rank, furthest = spearmanr(found, exact).statistic, np.abs(found - exact).max()
        figure = f"{rank:.6f}, {furthest:.1e}"
        line(f"{name}: Spearman with float64, largest difference of a cosine", figure, ">= 0.9999", rank >= 0.9999)
        if name != "float32":
            ratio = taken["float32"] / taken[name]
            what, demanded = f"{name}: speed over float32", name == "bf16" and native
            line(what + ("" if native else " (no CPU instructions)"), f"{ratio:.2f}x", *demanded * (">= 1.6x",
                 ratio >= 1.6))  # fmt: skip
            for kind in profiles:
                print(f"    scoring in {kind}: {profiles[kind]}", flush=True)


def float64_values(trajectory, x):
    """The obvious way: every sample's gradient in float64, one block of samples at a time."""
    model, total = trajectory.model.double(), np.zeros(len(x))
    for row in range(len(trajectory)):
        gradient = [g.double() for g in trajectory.at(row)]
        engine = GradientSimilarity(model, reconstruction_loss)
        for start in range(0, len(x), 512):
            block = x[start : start + 512].double()
            total[start : start + 512] += engine(block, block, gradient)["cosine"].numpy()
    return total / len(trajectory)


def bench_scaling(device):
    """Time against the number of profiles and of steps, and memory, for the published model."""
    sizes, steps = [1000, 10_000, 100_000], [10, 100]

    def read(start, stop):
        block = torch.randn(stop - start, 978, generator=torch.Generator().manual_seed(start))
        return block, block

    with tempfile.TemporaryDirectory() as folder:
        path = record(Path(folder), device, torch.randn(500, 978), steps[-1])

        def run(n, n_steps):
            with Trajectory(path, device=device) as trajectory:
                trajectory.n_rows = n_steps
                score(trajectory, reconstruction_loss, read, Shard.of(n))

        peaks = []
        for n in sizes:
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak up to here
            run(n, 1)
            peaks.append(status("VmHWM") / 1024)
        # Enough steps that work done only once hardly counts.
        by_size = seconds([partial(run, n, 25) for n in sizes], device, 1)
        by_steps = seconds([partial(run, 4096, n) for n in steps], device, 2)
    for what, at, taken in (("profiles", sizes, by_size), ("steps", steps, by_steps)):
        exponent = np.polyfit(np.log(at), np.log(taken), 1)[0]
        span = f"time against {what}, {at[0]:,} to {at[-1]:,}"
        line(span, f"exponent {exponent:.3f}", "1 +- 0.05", abs(exponent - 1) <= 0.05)
    growth = peaks[-1] / peaks[1]
    line(f"peak memory, {sizes[-1]:,} / {sizes[1]:,} profiles", f"{growth:.2f}x ({peaks[-1]:.0f} MiB)", "flat",
         growth < 1.1)  # fmt: skip


def record(folder, device, target, n_steps):
    path, target = folder / "trajectory.h5", target.to(device)
    model = make_autoencoder(978, (256, 256), 64, seed=1).to(device)
    schedule = Schedule(epochs=n_steps, batch_size=len(target), learning_rate=1e-3)
    settings = TrajectorySettings(schedule=schedule, seed=1)
    record_trajectory(path, model, reconstruction_loss, (target, target), settings)
    return path


def bench_together(device):
    """Training as many models together as group_size says, against training them one by one."""
    models = {
        "ADULT classifiers, batches of 200": (partial(make_classifier, 108, [100, 100], 2), 108, 200),
        "autoencoders 978-64-16, batches of 64": (partial(make_autoencoder, 978, (64,), 16), 978, 64),
        "published autoencoders, batches of 1024": (partial(make_autoencoder, 978, (256, 256), 64), 978, 1024),
    }
    for name, (make, n_features, batch_size) in models.items():
        x = torch.randn(2000, n_features, device=device)
        y, loss = (x, reconstruction_loss) if name[0] != "A" else ((x[:, 0] > 0).long(), cross_entropy)
        size = group_size(make(seed=0), batch_size, device)
        n = max(size, 4)
        few = min(n, FEW)
        schedule = Schedule(steps=40 if size > 1 else 4, batch_size=batch_size, learning_rate=1e-3)

        def one_by_one(make=make, x=x, y=y, loss=loss, few=few, schedule=schedule):
            for seed in range(few):
                fit(make(seed=seed).to(x.device), loss, (x, y), schedule, seed)

        def together(make=make, x=x, y=y, loss=loss, n=n, schedule=schedule):
            rows = [torch.arange(len(x))] * n
            fit_together([make(seed=s).to(x.device) for s in range(n)], loss, (x, y), rows, schedule, range(n))

        alone, stacked = seconds([one_by_one, together], device, 5 if device.type == "cpu" else 2)
        alone *= n / few
        chosen = f"together, {size} at a time" if size > 1 else "one by one"
        line(f"{name}: one by one / together; chosen: {chosen}", f"{alone / stacked:.2f}x")


def bench_shapley(device):
    """Coalitions of Data Shapley with the published settings and the shape of ADULT: stacked against one at a time.

    Their sizes are some of those in a permutation of 1,000 samples. On a CPU there are fewer steps, because all steps
    take the same time.
    """
    sizes = (10, 50, 100, 200, 300, 400, 500)
    steps, few = (25, FEW) if device.type == "cpu" else (200, 2)
    start = make_classifier(108, [100, 100], 2, seed=1, dropout=0.5, norm=True).to(device)
    k = group_size(start, 500, device)
    rng = np.random.default_rng(0)
    x, y = torch.randn(1000, 108, device=device), torch.from_numpy(rng.integers(0, 2, 1000)).to(device)
    target = torch.randn(400, 108, device=device)
    coalitions = [[torch.from_numpy(rng.permutation(1000)[:size]) for _ in range(k)] for size in sizes]
    schedule = Schedule(steps=steps, batch_size=1000, learning_rate=1e-4)

    def one_by_one():
        for own in coalitions:
            for rows in own[:few]:
                predict(fit(copy.deepcopy(start), cross_entropy, (x, y), schedule, 1, rows), target)

    def together():
        for own in coalitions:
            predict_together(start, target, cross_entropy, (x, y), own, schedule, [1] * k)

    widths = [(108, 100), (100, 100), (100, 2)]
    weights = [torch.randn(k, *width, device=device) for width in widths]

    def products():
        for size in sizes:
            inputs, deltas = ([torch.randn(k, size, w[end], device=device) for w in widths] for end in (0, 1))
            for _ in range(steps):
                for layer, (a, weight, delta) in enumerate(zip(inputs, weights, deltas, strict=True)):
                    a @ weight, a.mT @ delta
                    if layer:
                        delta @ weight.mT

    alone, stacked, floor = seconds([one_by_one, together, products], device, 3 if device.type == "cpu" else 1)
    alone *= k / min(k, few)
    ratio = alone / stacked
    line(f"Data Shapley on ADULT: one coalition at a time / {k} stacked", f"{ratio:.1f}x", ">= 20x", ratio >= 20)
    line("    one at a time / the matrix products of the stack alone", f"{alone / floor:.1f}x")


def bench_chunks(run, device):
    """Chunks whose layers fit the L2 cache, against larger ones."""
    cache, usual = torch.cuda.get_device_properties(device).L2_cache_size, CHUNK_BYTES[device.type]
    for size in (usual >> 4, usual >> 3, usual >> 2):
        CHUNK_BYTES[device.type] = size
        slow = run()[0]
        CHUNK_BYTES[device.type] = usual
        fast = run()[0]
        fits = "which fit" if size < cache else "too large for"
        what = f"    chunks of {size >> 20} MiB, {fits} the L2 of {cache >> 20} MiB / of {usual >> 20} MiB"
        line(what, f"{slow / fast:.2f}x")


def bench_published_run(device):
    """All gradients of the published LINCS run, 710,216 profiles x 500 steps; then a quarter of either."""
    n, n_steps = 710_216, 500
    x = torch.randn(n, 978, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        path = record(Path(folder), device, torch.randn(5000, 978), n_steps)

        def run(precision, share=1, share_of_steps=1):
            with Trajectory(path, device=device) as trajectory:
                trajectory.n_rows = round(n_steps * share_of_steps)
                started = time.perf_counter()
                read = lambda start, stop: (x[start:stop],) * 2  # noqa: E731
                values = score(
                    trajectory,
                    reconstruction_loss,
                    read,
                    Shard.of(round(n * share)),
                    ScoreSettings(precision=precision),
                )
                return time.perf_counter() - started, values["cosine"].to_numpy()

        rows = np.arange(0, n, n // 200)[:200]
        with Trajectory(path, device="cpu") as trajectory:
            exact = float64_values(trajectory, x[rows])
        run("float32", 0.1, 0.1)  # to warm up
        bench_chunks(partial(run, "float32", 0.37, 0.1), device)
        print(f"    scoring in float32: {profile_of(partial(run, 'float32', 0.1, 0.02), device)}", flush=True)
        for name in PRECISIONS:
            taken, values = run(name)
            figure = f"{taken:.1f} s, {1e6 * taken / n / n_steps:.3f} us each"
            line(f"{n:,} profiles x {n_steps} steps, {name}", figure, "< 60 s", taken < 60)
            rank, furthest = spearmanr(exact, values[rows]).statistic, np.abs(exact - values[rows]).max()
            figure = f"{rank:.6f}, {furthest:.1e}"
            what = f"    Spearman with float64 on {len(rows)} of them, largest difference"
            line(what, figure, ">= 0.9999", rank >= 0.9999)
            if name == "tf32":
                for what, quarter in (("profiles", (0.25, 1)), ("steps", (1, 0.25))):
                    exponent = np.log(taken / run(name, *quarter)[0]) / np.log(4)
                    figure, reached = f"exponent {exponent:.3f}", abs(exponent - 1) <= 0.05
                    line(f"    time against {what}, a quarter to all", figure, "1 +- 0.05", reached)
        peak = torch.cuda.max_memory_allocated() / 2**30
        line("    most memory of the GPU", f"{peak:.1f} GiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--memory-of", choices=["ours", "vmap"], help=argparse.SUPPRESS)
    parser.add_argument("--vmap-of", choices=list(MODELS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    if options.memory_of:
        return memory_of(options.memory_of)
    if options.vmap_of:
        return vmap_of(options.vmap_of, device)
    keep_freed_memory()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{options.threads} threads, {platform.machine()}"
    print(f"{time.strftime('%Y-%m-%d')}, {device.type}: {name}; torch {torch.__version__}")
    with in_precision("float32", device):
        bench_against_vmap(device)
        if device.type == "cpu":
            bench_memory()
        bench_floor(device)
    if device.type == "cpu":  # on a GPU the published run shows it
        bench_precision(device)
        bench_scaling(device)
    bench_together(device)
    bench_shapley(device)
    if device.type == "cuda":
        bench_published_run(device)


if __name__ == "__main__":
    main()
