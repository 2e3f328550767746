"""Checkpoints of OPT-6.7B's and Llama-2-13B's shapes with random weights, made by Transformers here,
saved as safetensors, loaded by Hearth and compared: 20 greedy tokens and the log probabilities of the
likeliest within atol = rtol = 1e-2.

    transformers_check.py [--only OPT-6.7B,Llama-2-13B] [--json FILE] [--seconds 420] [--folder /tmp/...]

The judge is Transformers in fp32 over the same fp16 weights; how far its own fp16 is from that is
printed beside. Where disk or time do not allow all layers, fewer are taken, and it is said.
"""

import argparse
import gc
import shutil
import sys
import time
import traceback
from pathlib import Path

from hearth_abi import Engine, Library, tokens_of
from models import LLAMA_2_13B, OPT_6_7B, Model
from results import Results

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--only", default="OPT-6.7B,Llama-2-13B")
parser.add_argument("--json")
parser.add_argument("--library")
parser.add_argument("--seconds", type=float, default=420)
parser.add_argument("--folder", default="/tmp/hearth/checkpoints")
parser.add_argument(
    "--tiny", action="store_true", help="small shapes on the CPU: exercises this program"
)
args = parser.parse_args()

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig  # noqa: E402
from transformers.utils import logging  # noqa: E402

logging.disable_progress_bar()

NEW_TOKENS = 20
PROMPT_LENGTHS = [5, 17, 64, 200]
ATOL = RTOL = 1e-2
TOP = 20
MODELS = {"OPT-6.7B": (OPTConfig, OPT_6_7B), "Llama-2-13B": (LlamaConfig, LLAMA_2_13B)}

device = "cpu" if args.tiny else "cuda"
results = Results(args.json)
library = Library(args.library)
begun = time.perf_counter()
bytes_per_second = 1e9  # of save_pretrained: measured as we go


def spent() -> float:
    return time.perf_counter() - begun


def free_memory():
    gc.collect()
    if not args.tiny:
        torch.cuda.empty_cache()


def make_checkpoint(name: str, folder: Path) -> tuple:
    """A random model, saved. Layers are fewer where the disk or the time would not do."""
    global bytes_per_second
    config_class, config = MODELS[name]
    config = {k: v for k, v in config.items() if k not in ("model_type", "torch_dtype")}
    if args.tiny:
        mlp = "ffn_dim" if "ffn_dim" in config else "intermediate_size"
        config |= {"hidden_size": 64, mlp: 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        if "word_embed_proj_dim" in config:
            config["word_embed_proj_dim"] = 64
    all_layers = config["num_hidden_layers"]
    size = Model(MODELS[name][1]).layer_weight_bytes()
    room = shutil.disk_usage(folder.parent).free * 0.9
    affordable = (args.seconds - spent() - 120) / 2 * bytes_per_second
    if not args.tiny and min(room, affordable) < size:
        config["num_hidden_layers"] = max(2, int(all_layers * min(room, affordable) / size))
    torch.manual_seed(1)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config_class(**config), dtype=torch.float16).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:  # biases and norms that are neither 0 nor 1
                    parameter.add_(torch.randn_like(parameter) * 0.05)
    started = time.perf_counter()
    model.save_pretrained(folder, max_shard_size="8GB")
    saved = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    bytes_per_second = saved / (time.perf_counter() - started)
    layers = config["num_hidden_layers"]
    print(
        f"{name}: {saved / 1e9:.1f} GB in {layers} of {all_layers} layers, saved in "
        f"{time.perf_counter() - started:.0f} s ({spent():.0f} s)",
        flush=True,
    )
    return model, layers, all_layers


def greedy(model, prompt: list) -> tuple:
    """Greedy tokens, and the log probabilities of each step, on the CPU."""
    ids = torch.tensor([prompt], device=device)
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
    logprobs = torch.stack([torch.log_softmax(row[0].float(), -1) for row in out.logits])
    return out.sequences[0, len(prompt) :].tolist(), logprobs.cpu()


def check(name: str, folder: Path) -> bool:
    model, layers, all_layers = make_checkpoint(name, folder)
    vocab = model.config.vocab_size
    generator = torch.Generator().manual_seed(2)
    prompts = [torch.randint(4, vocab, (n,), generator=generator).tolist() for n in PROMPT_LENGTHS]
    half = [greedy(model, prompt) for prompt in prompts] if not args.tiny else None
    model = model.float()
    single = [greedy(model, prompt) for prompt in prompts]
    print(f"{name}: Transformers is done ({spent():.0f} s)", flush=True)
    del model
    free_memory()

    ours_device = {"device": "cpu", "activation_dtype": 0} if args.tiny else {}
    with Engine(
        library, Model.load(folder), max_model_len=512, max_num_seqs=8, **ours_device
    ) as engine:
        ready = engine.wait_ready(200)
        stats = engine.stats()
        rate = stats.bytes_loaded / ready * 1e-9
        print(f"{name}: Hearth ready after {ready:.1f} s, {rate:.1f} GB/s of weights", flush=True)
        runs, _ = engine.generate(prompts, NEW_TOKENS, logprobs=TOP)

    worst = worst_half = 0.0
    compared = 0
    passes = True
    for i, (run, (expected, logprobs)) in enumerate(zip(runs, single)):
        events = tokens_of(run)
        for step, event in enumerate(events):
            row = logprobs[step]
            for token, logprob in event.top:
                allowed = ATOL + RTOL * abs(row[token].item())
                worst = max(worst, abs(logprob - row[token].item()) / allowed)
                if half and half[i][0][:step] == expected[:step]:
                    other = half[i][1][step][token].item()
                    worst_half = max(worst_half, abs(other - row[token].item()) / allowed)
            compared += 1
            if event.token != expected[step]:
                margin = row[expected[step]].item() - row[event.token].item()
                what = f"prompt of {len(prompts[i])}, token {step}: margin {margin:.4f}"
                if margin > 2 * ATOL:
                    passes = False
                    print(f"{name} FAILED: {what}", flush=True)
                else:
                    print(f"{name}: a close call at {what}", flush=True)
                break
    # NaN is no pass.
    passes = passes and worst <= 1
    print(
        f"{name}: {'ok' if passes else 'FAILED'}: {compared} of {NEW_TOKENS * len(prompts)} tokens "
        f"compared, largest difference {worst:.2f} of what atol = rtol = 1e-2 allow"
        + (f" (Transformers' own fp16: {worst_half:.2f})" if half else ""),
        flush=True,
    )
    results.write(
        "transformers_check",
        model=name,
        layers=layers,
        all_layers=all_layers,
        tokens_compared=compared,
        worst_of_allowed=worst,
        transformers_fp16_worst_of_allowed=worst_half,
        passes=passes,
        ready_s=ready,
        load_gb_per_s=rate,
    )
    return passes


def main() -> int:
    failed = 0
    for name in args.only.split(","):
        folder = Path(args.folder) / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            failed += not check(name, folder)
        except Exception:
            failed += 1
            print(f"{name} FAILED", flush=True)
            traceback.print_exc(limit=-2, chain=False, file=sys.stdout)
        shutil.rmtree(folder, ignore_errors=True)
        free_memory()
    return int(failed > 0)


sys.exit(main())
