"""Whole models through the C ABI with dummy weights (design, section 9): W2 and W1 (Llama-2-13B), W3
(SmolLM2-135M), and one request of Llama-3-8B's and OPT-6.7B's shapes.

    workloads.py [--only W2,W1,W3,...] [--json FILE] [--ceilings OPS.jsonl]

Every figure is beside its floor: the bytes that a step must read over the read rate that gpu_bench
measured in the same run.
"""

import argparse
import os
import sys
import time
import traceback

from hearth_abi import Engine, Library, constant, tokens_of
from models import LLAMA_2_13B, LLAMA_3_8B, OPT_6_7B, SMOLLM2_135M, Model
from results import Device, Meter, Results, read_ceiling

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--only", default="W2,W1,W3,8B,OPT")
parser.add_argument("--json")
parser.add_argument("--ceilings")
parser.add_argument("--library")
parser.add_argument("--seconds", type=float, default=300, help="stop beginning workloads after")
parser.add_argument("--checkpoint", help="a tiny model on the CPU instead: exercises this program")
args = parser.parse_args()

library = Library(args.library)
device = Device()
results = Results(args.json)
read_rate = read_ceiling(args.ceilings)
begun = time.perf_counter()


def seconds_since_process_start() -> float:
    started = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def prompt(model: Model, length: int, seed: int = 1) -> list:
    return [3 + (seed * 7919 + i * i * 31 + i * 17) % (model.vocab - 3) for i in range(length)]


def open_engine(model: Model, **options) -> Engine:
    if args.checkpoint:
        options = {k: options[k] for k in ("max_num_seqs",) if k in options}
        return Engine(
            library, model, device="cpu", activation_dtype=0, max_model_len=256, **options
        )
    return Engine(
        library,
        model,
        load_format=constant("LOAD_DUMMY"),
        disable_prefix_caching=1,
        **options,
    )


def figures_of_steps(before, after, steps: int, seconds: float) -> dict:
    """Launches a step and the device's share of the time between two stats."""
    ran = max(1, after.num_steps - before.num_steps)
    busy = (after.device_microseconds - before.device_microseconds) * 1e-6
    return {
        "launches_per_step": (after.num_launches - before.num_launches) / ran,
        "device_busy": busy / seconds,
        "idle": 1 - busy / seconds,
        "steps": steps,
    }


def run_decode(engine: Engine, prompts: list, max_tokens: int, timeout: float):
    """Runs prompts together and measures while all of them decode."""
    model = engine.model
    meter = Meter(device)
    submitted = time.perf_counter()
    requests = [engine.submit(tokens, max_tokens) for tokens in prompts]
    lengths = dict(zip(requests, map(len, prompts)))
    times = {request: [] for request in requests}
    before = after = None
    with meter:
        running = set(requests)
        for event in engine.poll_until(timeout):
            if event.request not in times:
                continue
            if event.kind == constant("EVENT_ERROR"):
                raise RuntimeError(event.text)
            if event.kind == constant("EVENT_TOKEN"):
                times[event.request].append(event.time)
                if before is None and all(times.values()):
                    before, before_time = engine.stats(), time.perf_counter()
                if after is None and len(times[event.request]) == max_tokens:
                    after, after_time = engine.stats(), time.perf_counter()
            if event.kind == constant("EVENT_FINISH"):
                running.discard(event.request)
                if not running:
                    break
        else:
            raise RuntimeError(f"{len(running)} requests did not finish in {timeout} s")
    ended = time.perf_counter()

    first = max(arrivals[0] for arrivals in times.values())
    last = min(arrivals[-1] for arrivals in times.values())
    inside = sum(first < at <= last for arrivals in times.values() for at in arrivals)
    contexts = [
        lengths[request] + index
        for request, arrivals in times.items()
        for index, at in enumerate(arrivals)
        if first < at <= last
    ]
    # Steps that ended in the window: tokens of one sequence, since all had one in each.
    steps = inside / len(prompts)
    if steps == 0:
        raise RuntimeError("the sequences never decoded together: max_tokens is too small")
    milliseconds = (last - first) / steps * 1e3
    context = sum(contexts) / len(contexts)
    step_bytes = model.step_bytes(len(prompts), context)
    floor = step_bytes / read_rate * 1e3 if read_rate else None
    all_tokens = len(prompts) * max_tokens
    return {
        "sequences": len(prompts),
        "mean_context": context,
        "step_ms": milliseconds,
        "floor_ms": floor,
        "of_floor": floor and floor / milliseconds,
        "tokens_per_second": len(prompts) / milliseconds * 1e3,
        "run_tokens_per_second": all_tokens / (ended - submitted),
        "ttft_ms": (min(arrivals[0] for arrivals in times.values()) - submitted) * 1e3,
        "last_ttft_ms": (first - submitted) * 1e3,
        "prefill_tokens_per_second": sum(lengths.values()) / (first - submitted),
        **figures_of_steps(before, after, steps, after_time - before_time),
        **meter.figures(all_tokens),
    }


def show(name: str, figures: dict):
    share = figures["of_floor"]
    floor = f"floor {figures['floor_ms']:.3f} ms, {share:.2f} of its speed" if share else "no floor"
    joules = figures["joules_per_token"]
    memory = figures["peak_memory_bytes"]
    print(
        f"{name:<22} {figures['step_ms']:8.3f} ms a step, {floor}; "
        f"{figures['tokens_per_second']:.0f} tok/s; TTFT {figures['ttft_ms']:.1f} ms; "
        f"prefill {figures['prefill_tokens_per_second']:.0f} tok/s; "
        f"{figures['launches_per_step']:.1f} launches a step; idle {figures['idle'] * 100:.1f} %"
        + (f"; {joules:.2f} J a token" if joules else "")
        + (f"; {memory / 1e9:.1f} GB" if memory else ""),
        flush=True,
    )


def measure(engine: Engine, name: str, lengths: list, max_tokens: int, timeout: float = 90):
    model = engine.model
    prompts = [prompt(model, length, seed) for seed, length in enumerate(lengths, 1)]
    figures = run_decode(engine, prompts, max_tokens, timeout)
    show(name, figures)
    results.write(name, model=args.checkpoint or model.config["hidden_size"], **figures)
    return figures


def opened(name: str, model: Model, **options) -> Engine:
    since_start = seconds_since_process_start()
    engine = open_engine(model, **options)
    ready = engine.wait_ready()
    stats = engine.stats()
    print(
        f"{name}: ready {ready:.2f} s after open ({since_start + ready:.2f} s after the process "
        f"began); {stats.weights_bytes / 1e9:.2f} GB of weights, {stats.kv_blocks_total} blocks of "
        f"KV, {stats.workspace_bytes / 1e6:.0f} MB of workspace",
        flush=True,
    )
    results.write(
        f"{name} start",
        open_to_ready_s=ready,
        process_to_ready_s=since_start + ready,
        weights_bytes=stats.weights_bytes,
        kv_bytes=stats.kv_bytes,
        workspace_bytes=stats.workspace_bytes,
    )
    return engine


def llama_13b(wanted: set):
    with opened("W2", Model(LLAMA_2_13B), max_model_len=4096, max_num_seqs=12) as engine:
        print(engine.describe(), flush=True)
        measure(engine, "warm-up", [64], 16)
        if "W2" in wanted:
            measure(engine, "W2 128", [96], 64)
            measure(engine, "W2 3968", [3936], 64)
        if "W1" in wanted:
            measure(engine, "W1", [3968] * 12, 128)


def one_request(name: str, config: dict, lengths: list, max_tokens: int):
    with opened(name, Model(config), max_model_len=2048, max_num_seqs=16) as engine:
        measure(engine, "warm-up", [16], 32)
        for length in lengths:
            measure(engine, f"{name} {length}", [length], max_tokens)


def tiny():
    with opened("tiny", Model.load(args.checkpoint), max_num_seqs=4) as engine:
        measure(engine, "tiny 1", [20], 200)
        measure(engine, "tiny 4", [40, 41, 42, 43], 150)


def main() -> int:
    print(library.build_info(), flush=True)
    wanted = set(args.only.split(","))
    parts = [("tiny", tiny)] if args.checkpoint else []
    if not args.checkpoint:
        if wanted & {"W1", "W2"}:
            parts.append(("W1, W2", lambda: llama_13b(wanted)))
        for name, config, lengths in (
            ("W3", SMOLLM2_135M, [16, 1024]),
            ("8B", LLAMA_3_8B, [96]),
            ("OPT", OPT_6_7B, [96]),
        ):
            if name in wanted:
                parts.append(
                    (name, lambda n=name, c=config, ls=lengths: one_request(n, c, ls, 128))
                )
    failed = 0
    for name, part in parts:
        if time.perf_counter() - begun > args.seconds:
            print(f"{name}: left out, {args.seconds:.0f} s are over", flush=True)
            continue
        try:
            part()
        except Exception:
            failed += 1
            print(f"{name} FAILED", flush=True)
            traceback.print_exc(limit=-2, chain=False, file=sys.stdout)
    return int(failed > 0)


sys.exit(main())
