"""PyTorch and Transformers on the same device, as peers of the same run.

    peers.py [--only attention,eager,compiled] [--json FILE] [--seconds 400]

Attention: SDPA's cuDNN and FlashAttention (those of PyTorch's wheel, over contiguous K and V: they
have no blocks), and unfused: matmul, softmax, matmul. Models: Llama-2-13B's shape with random
weights, eager and compiled with a static cache, milliseconds a token. Each part is a process of its
own with a time limit, since a compilation cannot be told to stop.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time

from models import LLAMA_2_13B
from results import Device, Meter, Results

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--only", default="attention,eager,compiled")
parser.add_argument("--json")
parser.add_argument("--seconds", type=float, default=400)
parser.add_argument("--part", help="run one part in this process")
parser.add_argument(
    "--tiny", action="store_true", help="small shapes on the CPU: a try of this program"
)
args = parser.parse_args()

results = Results(args.json)

# Name as gpu_bench has it, sequences, queries, context, heads, KV heads, head_dim.
SHAPES = [
    ("12x4096 40/40x128", 12, 1, 4096, 40, 40, 128),
    ("32x4096 32/8x128", 32, 1, 4096, 32, 8, 128),
    ("1x4096 40/40x128", 1, 4096, 4096, 40, 40, 128),
    ("1x4096 32/8x128", 1, 4096, 4096, 32, 8, 128),
]
if args.tiny:
    SHAPES = [("2x64 4/2x32", 2, 1, 64, 4, 2, 32), ("1x64 4/4x32", 1, 64, 64, 4, 4, 32)]


def median_microseconds(torch, run, copies: int) -> float:
    """Of one run(copy), by replays of a CUDA graph that goes through the copies."""
    if args.tiny:
        started = time.perf_counter()
        run(0)
        return (time.perf_counter() - started) * 1e6
    count = max(4, copies)
    for copy in range(copies):
        run(copy)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            run(i % copies)
    times = []
    for i in range(18):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(begin.elapsed_time(end) * 1e3 / count)
    return statistics.median(times)


def attention():
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    device = "cpu" if args.tiny else "cuda"
    for name, sequences, queries, context, heads, kv_heads, head_dim in SHAPES:
        kv_bytes = 4 * sequences * context * kv_heads * head_dim
        copies = 1 if args.tiny else max(2, math.ceil(320e6 / kv_bytes))
        shape = (sequences, kv_heads, context, head_dim)
        k, v = (
            [torch.randn(shape, dtype=torch.float16, device=device) for _ in range(copies)]
            for _ in range(2)
        )
        q = torch.randn((sequences, heads, queries, head_dim), dtype=torch.float16, device=device)
        causal = queries > 1
        group = heads // kv_heads
        mask = (
            torch.ones((queries, context), dtype=torch.bool, device=device).triu(1)
            if causal
            else None
        )

        def fused(copy):
            return scaled_dot_product_attention(
                q, k[copy], v[copy], is_causal=causal, enable_gqa=group > 1
            )

        def unfused(copy):
            # Heads that share K and V are rows of one product.
            rows = q.view(sequences, kv_heads, group * queries, head_dim)
            scores = torch.matmul(rows, k[copy].transpose(-1, -2)) * (1 / math.sqrt(head_dim))
            if mask is not None:
                scores = scores.view(sequences, kv_heads, group, queries, context)
                scores = scores.masked_fill(mask, float("-inf")).view(
                    sequences, kv_heads, group * queries, context
                )
            return torch.matmul(torch.softmax(scores, -1), v[copy])

        for backend, kind in (
            ("cudnn", SDPBackend.CUDNN_ATTENTION),
            ("flash", SDPBackend.FLASH_ATTENTION),
            ("efficient", SDPBackend.EFFICIENT_ATTENTION),
            ("unfused", None),
        ):
            try:
                if kind is None:
                    time_us = median_microseconds(torch, unfused, copies)
                else:
                    with sdpa_kernel(kind):
                        time_us = median_microseconds(torch, fused, copies)
            except Exception as error:  # a backend that does not take the shape
                print(f"{name} {backend}: {str(error).splitlines()[0][:120]}", flush=True)
                continue
            pairs = sequences * heads * queries * (context - queries + (queries + 1) / 2)
            rate = 4 * head_dim * pairs if causal else kv_bytes
            unit = "TFLOP/s" if causal else "TB/s"
            shown = f"{rate / time_us * 1e-6:8.2f} {unit}"
            print(f"{name:<20} {backend:<10} {time_us:9.1f} us  {shown}", flush=True)
            results.write(
                "attention_peer",
                shape=name,
                kind="prefill" if causal else "decode",
                backend=backend,
                us=time_us,
                rate=rate / time_us * 1e6,
                layout="contiguous",
            )
        del k, v, q, mask
        if not args.tiny:
            torch.cuda.empty_cache()


def step_milliseconds(torch, model, prompt_length: int, new_tokens: int, **options) -> list:
    """Time of each step of generate() after the first, past any warm-up."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Clock(StoppingCriteria):
        def __init__(self):
            self.times = []

        def __call__(self, input_ids, scores, **kwargs):
            if not args.tiny:
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())
            return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    clock = Clock()
    ids = torch.randint(3, model.config.vocab_size, (1, prompt_length), device=model.device)
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        stopping_criteria=StoppingCriteriaList([clock]),
        **options,
    )
    return [(b - a) * 1e3 for a, b in zip(clock.times, clock.times[1:])]


def make_model(torch):
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = dict(LLAMA_2_13B)
    if args.tiny:
        config |= dict(
            hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
        )
    config = LlamaConfig(
        **{k: v for k, v in config.items() if k not in ("model_type", "torch_dtype")}
    )
    dtype = torch.float32 if args.tiny else torch.float16
    with torch.device("cpu" if args.tiny else "cuda"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def transformers_part(name: str, contexts: list, **options):
    import torch

    started = time.perf_counter()
    model = make_model(torch)
    print(f"{name}: model made in {time.perf_counter() - started:.1f} s", flush=True)
    device = Device()
    for context in contexts:
        new_tokens = 48
        length = max(4, context - new_tokens)
        if args.tiny:
            length = 16
        started = time.perf_counter()
        with torch.inference_mode():
            step_milliseconds(torch, model, length, new_tokens, **options)  # warm-up, compilation
            warm = time.perf_counter() - started
            with Meter(device) as meter:
                times = step_milliseconds(torch, model, length, new_tokens, **options)
        milliseconds = statistics.median(times[-32:])
        print(
            f"{name}, context {context}: {milliseconds:.2f} ms a token (first run {warm:.0f} s)",
            flush=True,
        )
        results.write(
            "transformers",
            mode=name,
            context=context,
            step_ms=milliseconds,
            first_run_s=warm,
            **meter.figures(new_tokens),
        )


PARTS = {
    "attention": (attention, 90),
    "eager": (lambda: transformers_part("eager", [128, 3968]), 100),
    "compiled-128": (
        lambda: transformers_part("compiled", [128], cache_implementation="static"),
        150,
    ),
    "compiled-3968": (
        lambda: transformers_part("compiled", [3968], cache_implementation="static"),
        150,
    ),
}


def main() -> int:
    if args.part:
        PARTS[args.part][0]()
        return 0
    begun = time.perf_counter()
    failed = 0
    wanted = args.only.split(",")
    for name, (_, limit) in PARTS.items():
        if name.split("-")[0] not in wanted:
            continue
        left = args.seconds - (time.perf_counter() - begun)
        if left < 20:
            print(f"{name}: left out, the time is over", flush=True)
            continue
        command = [sys.executable, "-u", __file__, "--part", name]
        command += ["--json", args.json] if args.json else []
        command += ["--tiny"] if args.tiny else []
        try:
            failed += subprocess.run(command, timeout=min(left, limit)).returncode != 0
        except subprocess.TimeoutExpired:
            print(f"{name}: stopped after {min(left, limit):.0f} s", flush=True)
    return int(failed > 0)


sys.exit(main())
