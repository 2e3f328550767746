"""Whether steps allocate: 300 sequences with biases, bad words and penalties, of contexts that grow at
their own pace, for 2,000 steps of Llama-3-8B's shapes with made-up weights.

    steady_memory.py [--steps N] [--sequences N] [--device cpu --checkpoint FOLDER]

The library counts its allocations since the engine was ready, and the driver (NVML) tells the bytes in
use on the device: neither may change. What NVML tells is every process's: run it alone.
"""

import argparse
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench/gpu"))
from hearth_abi import Engine, Library, constant  # noqa: E402
from models import LLAMA_3_8B, Model  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--steps", type=int, default=2000)
parser.add_argument("--sequences", type=int, default=300)
parser.add_argument("--device", default="cuda")
parser.add_argument("--checkpoint", help="a model of tests/data: exercises this program on the CPU")
parser.add_argument("--library")
args = parser.parse_args()
rng = random.Random(1)


def used_bytes() -> int:
    if args.device != "cuda":
        return 0
    import pynvml

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used


def submit(engine: Engine, longest: int) -> int:
    """A request of any length, with what makes samplers remember."""
    vocab = engine.model.vocab
    length = rng.randrange(1, longest // 2)
    penalties = dict(repetition_penalty=1.1, presence_penalty=0.5, frequency_penalty=0.2)
    return engine.submit(
        [rng.randrange(vocab) for _ in range(length)],
        rng.randrange(1, longest - length),
        bias=[(rng.randrange(vocab), rng.uniform(-5, 5)) for _ in range(rng.randrange(200))],
        bad_words=[[rng.randrange(vocab) for _ in range(rng.randrange(1, 4))] for _ in range(20)],
        temperature=rng.choice([0.0, 0.8]),
        top_k=rng.choice([0, 40]),
        logprobs=rng.choice([-1, 5]),
        seed=rng.randrange(1 << 30),
        **(penalties if rng.random() < 0.7 else {}),
    )


def main() -> int:
    library = Library(args.library)
    if args.checkpoint:
        model, longest, options = Model.load(args.checkpoint), 128, {}
    else:
        model, longest = Model(LLAMA_3_8B), 2048
        options = dict(load_format=constant("LOAD_DUMMY"))
    options |= dict(max_model_len=longest, max_num_seqs=args.sequences)
    with Engine(library, model, device=args.device, **options) as engine:
        engine.wait_ready()
        before, memory = engine.stats(), used_bytes()
        running = {submit(engine, longest) for _ in range(args.sequences)}
        shown = most = 0
        while (stats := engine.stats()).num_steps < args.steps:
            for event in engine.poll(1000):
                if event.kind == constant("EVENT_ERROR"):
                    raise RuntimeError(event.text)
                if event.kind == constant("EVENT_FINISH"):
                    running.discard(event.request)
                    running.add(submit(engine, longest))
            most = max(most, stats.num_sequences_running)
            if stats.num_steps >= shown + 500:
                shown = stats.num_steps
                print(
                    f"step {shown}: {stats.num_sequences_running} sequences, "
                    f"{stats.num_allocations} allocations, {used_bytes() - memory:+d} bytes",
                    flush=True,
                )
        grown, allocations = used_bytes() - memory, stats.num_allocations
    print(
        f"{stats.num_steps} steps, {most} sequences at most, {stats.num_preemptions} preemptions: "
        f"{allocations} allocations since ready, {grown:+d} bytes by NVML; "
        f"{before.workspace_bytes / 1e6:.0f} MB of workspace were reserved"
    )
    failed = allocations != 0 or grown != 0 or most < args.sequences // 2
    print("FAILED" if failed else "ok")
    return int(failed)


sys.exit(main())
