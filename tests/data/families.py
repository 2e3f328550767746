"""The tiny checkpoints: one description a family, and the weights drawn for it.

Sizes are no powers of two on purpose: a kernel that assumes a multiple of 16, 32 or 64 fails here.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Checkpoint:
    """One Hugging Face folder. `config` is written to config.json as it stands."""

    name: str
    seed: int
    tokenizer: str
    config: dict
    shards: int = 1
    # Older OPT files say "decoder.layers.0" where newer ones say "model.decoder.layers.0".
    drops_model_prefix: bool = False
    generation_config: dict = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        return self.config.get("torch_dtype") or self.config["dtype"]


def draw_weights(shapes: dict[str, tuple[int, ...]], seed: int, tied: bool) -> dict:
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


def llama(**changes) -> dict:
    """A config.json of the Llama layout as the Hub has it; None removes a key."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "torch_dtype": "float32",
        "use_cache": True,
    } | changes
    return {key: value for key, value in config.items() if value is not None}


def qwen2(**changes) -> dict:
    return llama(
        **{
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "attention_bias": None,  # always biased, the config does not say so
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "use_sliding_window": False,
            "sliding_window": 2048,
            "max_window_layers": 2,
        }
        | changes
    )


def opt(**changes) -> dict:
    return {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "activation_function": "relu",
        "attention_dropout": 0.0,
        "dropout": 0.1,
        "do_layer_norm_before": True,
        "_remove_final_layer_norm": False,
        "max_position_embeddings": 640,
        "prefix": "</s>",
        "bos_token_id": 2,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "use_cache": True,
    } | changes


LLAMA3_SCALING = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    # Wavelengths under 32 stay, over 128 are divided: the prompts go well past both.
    "original_max_position_embeddings": 128,
    "rope_type": "llama3",
}

CHECKPOINTS = [
    Checkpoint(
        "llama2-fp32",
        seed=1,
        tokenizer="llama",
        config=llama(
            vocab_size=389,
            hidden_size=60,
            intermediate_size=124,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=3,
            bos_token_id=1,
            eos_token_id=2,
        ),
        generation_config={"do_sample": True, "temperature": 0.6, "top_p": 0.9},
    ),
    Checkpoint(
        "llama3-tied-bf16",
        seed=2,
        tokenizer="llama-bpe",
        config=llama(
            vocab_size=307,
            hidden_size=84,
            intermediate_size=116,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=20,
            rope_theta=500000.0,
            rope_scaling=LLAMA3_SCALING,
            tie_word_embeddings=True,
            torch_dtype="bfloat16",
            bos_token_id=303,
            eos_token_id=[304, 306],
        ),
        generation_config={"eos_token_id": [304, 306], "temperature": 0.6, "top_p": 0.9},
    ),
    Checkpoint(
        "llama3-fp16-sharded",
        seed=3,
        tokenizer="llama-bpe",
        config=llama(
            vocab_size=307,
            hidden_size=72,
            intermediate_size=76,
            num_hidden_layers=3,
            num_attention_heads=3,
            num_key_value_heads=1,
            rope_theta=None,
            # As Transformers 5 writes it: theta and scaling in one object, "dtype" for the type.
            rope_parameters=LLAMA3_SCALING | {"rope_theta": 10000.0},
            torch_dtype=None,
            dtype="float16",
            bos_token_id=303,
            eos_token_id=304,
        ),
        shards=3,
    ),
    Checkpoint(
        "llama-biases-fp32",
        seed=4,
        tokenizer="llama",
        config=llama(
            vocab_size=389,
            hidden_size=60,
            intermediate_size=92,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            attention_bias=True,
            mlp_bias=True,
            bos_token_id=1,
            eos_token_id=2,
        ),
    ),
    Checkpoint(
        "smollm2-bf16",
        seed=5,
        tokenizer="smollm",
        config=llama(
            vocab_size=307,
            hidden_size=60,
            intermediate_size=100,
            num_hidden_layers=3,
            num_attention_heads=3,
            num_key_value_heads=1,
            rope_theta=100000.0,
            tie_word_embeddings=True,
            torch_dtype="bfloat16",
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        ),
    ),
    Checkpoint(
        "tinyllama-bf16-sharded",
        seed=6,
        tokenizer="llama",
        config=llama(
            vocab_size=389,
            hidden_size=100,
            intermediate_size=60,
            num_hidden_layers=2,
            num_attention_heads=5,
            num_key_value_heads=1,
            torch_dtype="bfloat16",
            bos_token_id=1,
            eos_token_id=2,
        ),
        shards=2,
    ),
    Checkpoint(
        "mistral-window-fp16",
        seed=7,
        tokenizer="llama",
        config=llama(
            architectures=["MistralForCausalLM"],
            model_type="mistral",
            attention_bias=None,
            vocab_size=389,
            hidden_size=60,
            intermediate_size=100,
            num_hidden_layers=3,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=20,
            sliding_window=37,
            torch_dtype="float16",
            bos_token_id=1,
            eos_token_id=2,
        ),
    ),
    Checkpoint(
        "qwen2-fp16",
        seed=8,
        tokenizer="qwen2",
        config=qwen2(
            vocab_size=313,  # six more rows than the tokenizer has tokens, as in the real ones
            hidden_size=100,
            intermediate_size=68,
            num_hidden_layers=2,
            num_attention_heads=5,
            num_key_value_heads=1,
            torch_dtype="float16",
            bos_token_id=304,
            eos_token_id=306,
        ),
    ),
    Checkpoint(
        "qwen2-window-bf16",
        seed=9,
        tokenizer="qwen2",
        config=qwen2(
            vocab_size=313,
            hidden_size=72,
            intermediate_size=60,
            num_hidden_layers=4,
            num_attention_heads=3,
            num_key_value_heads=1,
            use_sliding_window=True,
            sliding_window=29,
            max_window_layers=2,
            torch_dtype="bfloat16",
            bos_token_id=304,
            eos_token_id=306,
        ),
    ),
    Checkpoint(
        "qwen2.5-tied-bf16-sharded",
        seed=10,
        tokenizer="qwen2",
        config=qwen2(
            vocab_size=313,
            hidden_size=72,
            intermediate_size=100,
            num_hidden_layers=3,
            num_attention_heads=6,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            torch_dtype="bfloat16",
            bos_token_id=304,
            eos_token_id=306,
        ),
        shards=2,
        generation_config={
            "eos_token_id": [306, 304],
            "pad_token_id": 304,
            "repetition_penalty": 1.1,
            "temperature": 0.7,
            "top_k": 20,
            "top_p": 0.8,
        },
    ),
    Checkpoint(
        "qwen3-tied-bf16",
        seed=11,
        tokenizer="qwen2",
        config=qwen2(
            architectures=["Qwen3ForCausalLM"],
            model_type="qwen3",
            attention_bias=False,
            vocab_size=313,
            hidden_size=90,
            intermediate_size=132,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=24,
            sliding_window=None,
            tie_word_embeddings=True,
            torch_dtype="bfloat16",
            bos_token_id=304,
            eos_token_id=306,
        ),
    ),
    Checkpoint(
        "qwen3-fp32",
        seed=12,
        tokenizer="qwen2",
        config=qwen2(
            architectures=["Qwen3ForCausalLM"],
            model_type="qwen3",
            attention_bias=False,
            vocab_size=313,
            hidden_size=54,
            intermediate_size=76,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=36,
            sliding_window=None,
            bos_token_id=304,
            eos_token_id=306,
        ),
    ),
    Checkpoint(
        "opt-prenorm-fp16",
        seed=13,
        tokenizer="opt",
        config=opt(
            vocab_size=307,
            hidden_size=60,
            word_embed_proj_dim=60,
            ffn_dim=148,
            num_hidden_layers=3,
            num_attention_heads=3,
        ),
    ),
    Checkpoint(
        "opt-postnorm-fp32",
        seed=114,
        tokenizer="opt",
        config=opt(
            vocab_size=307,
            hidden_size=60,
            word_embed_proj_dim=44,
            ffn_dim=100,
            num_hidden_layers=2,
            num_attention_heads=3,
            do_layer_norm_before=False,
            torch_dtype="float32",
        ),
        drops_model_prefix=True,
    ),
]
