"""Makes the tiny checkpoints of tests/data and their expected outputs. Development only.

    python tests/data/make_checkpoints.py OUT              every checkpoint, into folders of OUT
    python tests/data/make_checkpoints.py OUT --only NAME  those whose name contains NAME
    python tests/data/make_checkpoints.py OUT --mutate     no writing: the table of mutations

Needs torch, transformers, safetensors, tokenizers, sentencepiece and gguf (see README.md). All
seeds are fixed; a second run on the same versions writes the same files.
"""

import argparse
import json
import shutil
from pathlib import Path

import tokenizers
import torch
import transformers

from families import CHECKPOINTS, GGUF_CHECKPOINTS, GgufCheckpoint
from gguf_files import FILE, load_gguf, write_gguf
from hf_folder import load_folder, write_folder
from mutations import MIN_CHANGE, changes_nothing, mutations_of
from reference_run import MIN_MARGIN, golden_prompts, largest_change
from tokenizer_files import TEXTS, all_tokenizers, tokenizer_golden

FORMAT_VERSION = 1
# How far the reference itself may be from a run in float64, so that 1e-4 is a fair demand.
MAX_FP64_DIFFERENCE = 2e-5
# Over all prompts: a model that answers one token whatever it is asked tests little.
MIN_DISTINCT_TOKENS = 10


def origin() -> dict:
    return {
        "reference": "Hugging Face Transformers, fp32, eager attention, no KV cache, CPU",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "tokenizers": tokenizers.__version__,
        "script": "python tests/data/make_checkpoints.py OUT",
    }


def write_json(path: Path, value: dict) -> None:
    """Compact, with a line for each element of a long list, so that a diff can be read."""
    lines = []
    for key, field in value.items():
        if isinstance(field, list) and field and isinstance(field[0], dict):
            items = ",\n".join(compact(item) for item in field)
            lines.append(f"{compact(key)}:[\n{items}\n]")
        else:
            lines.append(f"{compact(key)}:{compact(field)}")
    path.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


def compact(value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def stop_tokens_of(config) -> set[int]:
    eos = config.eos_token_id
    return set(eos if isinstance(eos, list) else [eos])


def measure_mutations(model, prompts: list[dict], name: str) -> dict[str, float]:
    """Largest logprob change of each mutation, printed; stops where one would go unnoticed."""
    changes = {}
    for mutation, apply in mutations_of(model):
        with apply():
            change = largest_change(model, prompts)
        seen = change > MIN_CHANGE
        if changes_nothing(model, mutation):
            assert not seen, f"{name}: {mutation} was thought to change nothing: {change}"
            print(f"  {mutation:55} {change:9.5f}  (changes nothing)")
            continue
        changes[mutation] = round(change, 4)
        print(f"  {mutation:55} {change:9.5f}{'' if seen else '  TOO SMALL'}")
    unseen = [mutation for mutation, change in changes.items() if not change > MIN_CHANGE]
    assert not unseen, f"{name}: the golden would not notice: {unseen}"
    assert largest_change(model, prompts) < 2e-6, f"{name}: a mutation was not undone"
    return changes


def golden_of(model, name: str, seed: int, file: str) -> dict:
    """The contents of golden.json for a loaded reference."""
    vocab_size = model.config.vocab_size
    prompts = golden_prompts(model, vocab_size, stop_tokens_of(model.config), seed * 1000)
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters")
    mutations = measure_mutations(model, prompts, name)
    fp64_difference = largest_change(model.double(), prompts)
    print(f"  {'(reference against float64)':55} {fp64_difference:9.7f}")
    assert fp64_difference < MAX_FP64_DIFFERENCE, f"{name} is badly conditioned"
    distinct = {token for prompt in prompts for token in prompt["greedy"]}
    assert len(distinct) >= MIN_DISTINCT_TOKENS, f"{name} repeats itself: {distinct}"
    return {
        "format": "hearth-golden",
        "version": FORMAT_VERSION,
        "origin": origin(),
        "file": file,
        "vocab_size": vocab_size,
        "min_margin": MIN_MARGIN,
        "fp64_difference": float(f"{fp64_difference:.1e}"),
        "mutations": mutations,
        "prompts": prompts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder that holds a folder for each checkpoint")
    parser.add_argument("--only", default="", help="part of a checkpoint's name")
    parser.add_argument("--mutate", action="store_true", help="measure mutations, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    made = all_tokenizers()
    for checkpoint in [*CHECKPOINTS, *GGUF_CHECKPOINTS]:
        if options.only not in checkpoint.name:
            continue
        folder = options.out / checkpoint.name
        if options.mutate:
            golden = json.loads((folder / "golden.json").read_text())
            print(checkpoint.name)
            measure_mutations(load(checkpoint, folder), golden["prompts"], checkpoint.name)
        else:
            make(checkpoint, folder, made[checkpoint.tokenizer])


def make(checkpoint, folder: Path, tokenizer) -> None:
    """The checkpoint's files and both goldens, in a fresh folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    is_gguf = isinstance(checkpoint, GgufCheckpoint)
    (write_gguf if is_gguf else write_folder)(checkpoint, folder, tokenizer)
    model = load(checkpoint, folder)
    file = FILE if is_gguf else "."
    write_json(folder / "golden.json", golden_of(model, checkpoint.name, checkpoint.seed, file))
    header = {"format": "hearth-tokenizer-golden", "version": FORMAT_VERSION, "origin": origin()}
    write_json(folder / "tokenizer_golden.json", header | tokenizer_golden(tokenizer, TEXTS))


def load(checkpoint, folder: Path):
    """The reference: the finished files as Transformers computes them in fp32."""
    if isinstance(checkpoint, GgufCheckpoint):
        return load_gguf(checkpoint, folder)
    return load_folder(folder)


if __name__ == "__main__":
    main()
