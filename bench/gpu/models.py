"""Model specs and tensor tables for hearth_engine_open, from a config.json's fields: of checkpoints
in a folder, or with no weights at all (load_format DUMMY). Llama and OPT, as far as benchmarks go.
"""

import json
import math
import struct as packing
from pathlib import Path

from hearth_abi import Flat, constant, make

LLAMA_2_13B = {
    "model_type": "llama",
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "torch_dtype": "float16",
}
LLAMA_3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "torch_dtype": "float16",
}
OPT_6_7B = {
    "model_type": "opt",
    "hidden_size": 4096,
    "ffn_dim": 16384,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 50272,
    "max_position_embeddings": 2048,
    "word_embed_proj_dim": 4096,
    "do_layer_norm_before": True,
    "activation_function": "relu",
    "torch_dtype": "float16",
}
SMOLLM2_135M = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float16",
}

_DTYPES = {"F32": ("F32", 4), "F16": ("F16", 2), "BF16": ("BF16", 2)}
_ACTIVATIONS = {"silu": "SILU", "relu": "RELU", "gelu": "GELU", "gelu_new": "GELU_TANH"}

# Role of a tensor by its name in Transformers' checkpoints; {} stands for the layer.
_LLAMA_NAMES = {
    "TOKEN_EMBEDDING": "model.embed_tokens.weight",
    "FINAL_NORM_WEIGHT": "model.norm.weight",
    "LM_HEAD": "lm_head.weight",
    "ATTENTION_NORM_WEIGHT": "model.layers.{}.input_layernorm.weight",
    "Q_WEIGHT": "model.layers.{}.self_attn.q_proj.weight",
    "K_WEIGHT": "model.layers.{}.self_attn.k_proj.weight",
    "V_WEIGHT": "model.layers.{}.self_attn.v_proj.weight",
    "O_WEIGHT": "model.layers.{}.self_attn.o_proj.weight",
    "MLP_NORM_WEIGHT": "model.layers.{}.post_attention_layernorm.weight",
    "GATE_WEIGHT": "model.layers.{}.mlp.gate_proj.weight",
    "UP_WEIGHT": "model.layers.{}.mlp.up_proj.weight",
    "DOWN_WEIGHT": "model.layers.{}.mlp.down_proj.weight",
}
_OPT_NAMES = {
    "TOKEN_EMBEDDING": "model.decoder.embed_tokens.weight",
    "POSITION_EMBEDDING": "model.decoder.embed_positions.weight",
    "FINAL_NORM_WEIGHT": "model.decoder.final_layer_norm.weight",
    "FINAL_NORM_BIAS": "model.decoder.final_layer_norm.bias",
    **{
        f"{role}_{part.upper()}": f"model.decoder.layers.{{}}.{name}.{part}"
        for role, name in (
            ("ATTENTION_NORM", "self_attn_layer_norm"),
            ("Q", "self_attn.q_proj"),
            ("K", "self_attn.k_proj"),
            ("V", "self_attn.v_proj"),
            ("O", "self_attn.out_proj"),
            ("MLP_NORM", "final_layer_norm"),
            ("UP", "fc1"),
            ("DOWN", "fc2"),
        )
        for part in ("weight", "bias")
    },
}
_GLOBAL = {
    "TOKEN_EMBEDDING",
    "POSITION_EMBEDDING",
    "FINAL_NORM_WEIGHT",
    "FINAL_NORM_BIAS",
    "LM_HEAD",
}


class Model:
    def __init__(self, config: dict, folder: Path | None = None):
        self.config = config
        self.folder = folder
        self.is_opt = config["model_type"] == "opt"
        self.hidden = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or self.hidden // self.heads
        self.layers = config["num_hidden_layers"]
        self.mlp = config["ffn_dim" if self.is_opt else "intermediate_size"]
        self.vocab = config["vocab_size"]
        self.max_position = config["max_position_embeddings"]
        self.tied = config.get("tie_word_embeddings", self.is_opt)

    @staticmethod
    def load(folder) -> "Model":
        folder = Path(folder)
        return Model(json.loads((folder / "config.json").read_text()), folder)

    def layer_weight_bytes(self) -> int:
        """fp16 bytes of the linear weights of all layers and the lm_head: what a step reads."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        linear = self.hidden * (2 * q + 2 * kv) + self.hidden * self.mlp * (2 if self.is_opt else 3)
        return 2 * (linear * self.layers + self.vocab * self.hidden)

    def kv_bytes_per_token(self) -> int:
        return 2 * 2 * self.kv_heads * self.head_dim * self.layers

    def step_bytes(self, sequences: int, context: int) -> int:
        return self.layer_weight_bytes() + sequences * context * self.kv_bytes_per_token()

    def _spec(self, flat: Flat):
        config = self.config
        fields = dict(
            vocab_size=self.vocab,
            hidden_size=self.hidden,
            embedding_size=self.hidden,
            intermediate_size=self.mlp,
            num_layers=self.layers,
            num_heads=self.heads,
            num_kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            max_position=self.max_position,
            attention_scale=1 / math.sqrt(self.head_dim),
            rope_scale=1.0,
            tied_embeddings=int(self.tied),
            fingerprint=1,
        )
        if self.is_opt:
            if config.get("word_embed_proj_dim", self.hidden) != self.hidden:
                raise ValueError("projected embeddings are not supported here")
            fields.update(
                norm_kind=constant("NORM_LAYER"),
                norm_after=int(not config.get("do_layer_norm_before", True)),
                activation=constant("ACTIVATION_" + _ACTIVATIONS[config["activation_function"]]),
                position_kind=constant("POSITION_LEARNED"),
                position_offset=2,
                norm_eps=1e-5,
            )
        else:
            scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
            if scaling.get("rope_type", scaling.get("type", "default")) != "default":
                raise ValueError("scaled RoPE is not supported here")
            theta = config.get("rope_theta") or (config.get("rope_parameters") or {}).get(
                "rope_theta", 10000.0
            )
            half = self.head_dim // 2
            frequencies = [theta ** (-2 * i / self.head_dim) for i in range(half)]
            fields.update(
                norm_kind=constant("NORM_RMS"),
                activation=constant("ACTIVATION_" + _ACTIVATIONS[config.get("hidden_act", "silu")]),
                gated=1,
                position_kind=constant("POSITION_ROPE"),
                rope_style=constant("ROPE_HALF"),
                rope_dim=self.head_dim,
                rope_inv_freq_offset=flat.add(packing.pack(f"<{half}f", *frequencies)),
                rope_inv_freq_count=half,
                norm_eps=config.get("rms_norm_eps", 1e-6),
            )
        return make("model_spec", **fields)

    def _shape(self, role: str) -> list:
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes = {
            "TOKEN_EMBEDDING": [self.vocab, self.hidden],
            "LM_HEAD": [self.vocab, self.hidden],
            "POSITION_EMBEDDING": [self.max_position + 2, self.hidden],
            "Q_WEIGHT": [q, self.hidden],
            "K_WEIGHT": [kv, self.hidden],
            "V_WEIGHT": [kv, self.hidden],
            "O_WEIGHT": [self.hidden, q],
            "GATE_WEIGHT": [self.mlp, self.hidden],
            "UP_WEIGHT": [self.mlp, self.hidden],
            "DOWN_WEIGHT": [self.hidden, self.mlp],
            "Q_BIAS": [q],
            "K_BIAS": [kv],
            "V_BIAS": [kv],
            "UP_BIAS": [self.mlp],
        }
        return shapes.get(role, [self.hidden])

    def _roles(self):
        """(role, layer, name in the file) of every tensor."""
        names = _OPT_NAMES if self.is_opt else _LLAMA_NAMES
        for role, pattern in names.items():
            if role == "LM_HEAD" and self.tied:
                continue
            if role in _GLOBAL:
                yield role, 0, pattern
            else:
                for layer in range(self.layers):
                    yield role, layer, pattern.format(layer)

    def tables(self, flat: Flat):
        """The spec, the tensor table and the file table of hearth_engine_open."""
        spec = self._spec(flat)
        if self.folder is None:
            paths, found = [Path("/dev/null")], {}
        else:
            paths = sorted(self.folder.glob("*.safetensors"))
            found = {}
            for index, path in enumerate(paths):
                for name, entry in _safetensors(path).items():
                    found[name] = (index, *entry)
        tensors = []
        for role, layer, name in self._roles():
            shape = self._shape(role)
            if self.folder is None:
                dtype, offset, size = "F16", 0, 2 * math.prod(shape)
                file = 0
            else:
                # Checkpoints of OPT's decoder alone leave out the first part of the names.
                entry = found.get(name) or found[name.removeprefix("model.")]
                file, dtype, in_file, offset, size = entry
                if in_file != shape:
                    raise ValueError(f"{name} must have the shape {shape}: it has {in_file}")
            label = name.encode()
            tensors.append(
                make(
                    "tensor",
                    role=constant("TENSOR_" + role),
                    layer=layer,
                    dtype=constant("DTYPE_" + _DTYPES[dtype][0]),
                    num_dims=len(shape),
                    file=file,
                    file_offset=offset,
                    num_bytes=size,
                    name_offset=flat.add(label, 1),
                    name_bytes=len(label),
                )
            )
            tensors[-1].shape[0], tensors[-1].shape[1] = shape[0], shape[1] if len(shape) > 1 else 1
        files = []
        for path in paths:
            name = str(path).encode()
            files.append(make("file", path_offset=flat.add(name, 1), path_bytes=len(name)))
        return spec, tensors, files


def _safetensors(path: Path) -> dict:
    """dtype, shape, offset in the file and bytes of each tensor."""
    with open(path, "rb") as file:
        (size,) = packing.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    return {
        name: (
            entry["dtype"],
            entry["shape"],
            8 + size + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }
