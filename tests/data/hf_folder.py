"""Hugging Face folders: weights are drawn, files written and read back by Transformers."""

import json
import math
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

from families import Checkpoint

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def draw_weights(shapes: dict, seed: int, tied: bool) -> dict:
    """fp32 weights for the named shapes, wide enough that no part of the model can go missing.

    At the usual standard deviation of 0.02 leaving out RoPE moves a logprob by 0.006 only. Here
    matrices have a gain of 1.5 to 2 over 1 / sqrt(fan_in). A tied table counts as the matrix of the
    lm_head, which also keeps every token from predicting itself.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = {}
    for name in sorted(shapes):
        noise = torch.from_numpy(generator.standard_normal(shapes[name]).astype(np.float32))
        if name.endswith(".bias"):
            weights[name] = 0.3 * noise
        elif "norm" in name:
            weights[name] = 1 + 0.3 * noise
        elif "embed_tokens" in name:
            weights[name] = (2.0 / math.sqrt(shapes[name][1]) if tied else 1.0) * noise
        elif "embed_positions" in name:
            weights[name] = 0.7 * noise
        else:
            gain = 1.5 if "q_proj" in name or "k_proj" in name else 2.0
            weights[name] = gain / math.sqrt(shapes[name][1]) * noise
    return weights


def write_safetensors(folder: Path, weights: dict, shards: int) -> None:
    """One model.safetensors, or `shards` files of about equal size and their index."""
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in weights.items()}
    total, filled, parts = sum(sizes.values()), 0, [{} for _ in range(shards)]
    for name, tensor in weights.items():
        parts[min(filled * shards // total, shards - 1)][name] = tensor
        filled += sizes[name]
    weight_map = {}
    for number, part in enumerate(parts, start=1):
        file = f"model-{number:05}-of-{shards:05}.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def parameter_shapes(config) -> dict:
    """Name and shape of every tensor that a file of this model holds."""
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return {
        name: parameter.shape
        for name, parameter in model.named_parameters()
        if not (config.tie_word_embeddings and name == "lm_head.weight")
    }


def write_folder(checkpoint: Checkpoint, folder: Path, tokenizer) -> None:
    """config.json, weights, tokenizer and generation_config.json."""
    (folder / "config.json").write_text(json.dumps(checkpoint.config, indent=2) + "\n")
    config = transformers.AutoConfig.from_pretrained(folder)
    shapes = parameter_shapes(config)
    if checkpoint.drops_model_prefix:
        shapes = {name.removeprefix("model."): shape for name, shape in shapes.items()}
    weights = draw_weights(shapes, checkpoint.seed, config.tie_word_embeddings)
    dtype = DTYPES[checkpoint.dtype]
    write_safetensors(folder, {n: w.to(dtype) for n, w in weights.items()}, checkpoint.shards)
    tokenizer.write(folder)
    if checkpoint.generation_config:
        text = json.dumps(checkpoint.generation_config, indent=2)
        (folder / "generation_config.json").write_text(text + "\n")


def load_folder(folder: Path):
    """The model as Transformers reads the folder, upcast to fp32."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[problem], f"{folder.name}: {problem}: {report[problem]}"
    return model.eval()
