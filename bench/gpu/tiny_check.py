"""The tiny checkpoints of tests/data against their goldens, through the C ABI alone: for machines
without Deno, and for compute-sanitizer, which this keeps short.

    tiny_check.py [--device cuda] [--library PATH] [--reduced]

In fp32 the goldens must come out; in 16 bits the first tokens' logprobs must be near, and a prompt
must give the same bits alone and among others.
"""

import argparse
import json
import sys

from hearth_abi import ROOT, Engine, Library, constant, tokens_of
from models import Model

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--device", default="cuda")
parser.add_argument("--library")
parser.add_argument("--reduced", action="store_true")
args = parser.parse_args()

CHECKPOINTS = ["llama2-fp32", "opt-prenorm-fp16", "smollm2-bf16", "tinyllama-bf16-sharded"]
failures = 0


def fail(text: str):
    global failures
    failures += 1
    print("FAILED ", text, flush=True)


def exact(name: str, library: Library, prompts: list):
    with Engine(
        library,
        Model.load(ROOT / "tests/data" / name),
        device=args.device,
        activation_dtype=constant("DTYPE_F32"),
        max_model_len=640,
    ) as engine:
        engine.wait_ready()
        runs, _ = engine.generate([p["tokens"] for p in prompts], 24, logprobs=2)
    for prompt, run in zip(prompts, runs):
        tokens = [event.token for event in tokens_of(run)]
        what = f"{name} in fp32, prompt of {len(prompt['tokens'])}"
        if tokens != prompt["greedy"]:
            fail(f"{what}: {tokens} instead of {prompt['greedy']}")
            continue
        worst = max(abs(e.logprob - g) for e, g in zip(tokens_of(run), prompt["logprobs"]))
        if not worst <= 1e-4:
            fail(f"{what}: a logprob differs by {worst:.2g}")


def in_16_bits(name: str, library: Library, prompts: list):
    with Engine(
        library, Model.load(ROOT / "tests/data" / name), device=args.device, max_model_len=640
    ) as engine:
        engine.wait_ready()
        together, _ = engine.generate([p["tokens"] for p in prompts], 24, logprobs=2)
        alone = [engine.generate([p["tokens"]], 24, logprobs=2)[0][0] for p in prompts[-2:]]
    for prompt, run in zip(prompts, together):
        first = tokens_of(run)[0]
        expected = dict(map(tuple, prompt["top"][0]))
        what = f"{name} in 16 bits, prompt of {len(prompt['tokens'])}"
        if not abs(first.logprob - expected.get(first.token, float("nan"))) <= 0.1:
            fail(f"{what}: token {first.token} has logprob {first.logprob:.3f}, golden {expected}")
    for prompt, one, many in zip(prompts[-2:], alone, together[-2:]):
        bits = [[(e.token, e.logprob, e.top) for e in tokens_of(run)] for run in (one, many)]
        if bits[0] != bits[1]:
            fail(
                f"{name}: a prompt of {len(prompt['tokens'])} alone gives other bits than together"
            )


def main() -> int:
    library = Library(args.library)
    print(library.build_info(), flush=True)
    names = CHECKPOINTS[1:2] if args.reduced else CHECKPOINTS
    for name in names:
        golden = json.loads((ROOT / "tests/data" / name / "golden.json").read_text())
        prompts = golden["prompts"][:3] if args.reduced else golden["prompts"]
        for check in (exact, in_16_bits):
            try:
                check(name, library, prompts)
            except Exception as error:
                fail(f"{name}, {check.__name__}: {error}")
    print(f"tiny checkpoints: {len(names)} checked, {failures} failed", flush=True)
    return int(failures > 0)


sys.exit(main())
