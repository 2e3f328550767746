"""GGUF files as llama.cpp's converter writes them, and the reference that reads them back.

The reference sees exactly what an engine sees: tensors are read from the finished file and
dequantized by PyPI's `gguf`, then put under their Hugging Face names.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType, TokenType
from gguf.quants import dequantize, quantize

from families import GgufCheckpoint
from hf_folder import draw_weights, parameter_shapes

FILE = "model.gguf"


def transformers_config(checkpoint: GgufCheckpoint):
    return transformers.AutoConfig.for_model(**checkpoint.config)


def gguf_names(checkpoint: GgufCheckpoint, names) -> dict[str, str]:
    """Hugging Face name -> GGUF name, by the converter's own table."""
    model_type = checkpoint.config["model_type"]
    architecture = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == model_type)
    table = gguf.get_tensor_name_map(architecture, checkpoint.config["num_hidden_layers"])
    return {name: table.get_name(name, try_suffixes=(".weight", ".bias")) for name in names}


def heads_of(checkpoint: GgufCheckpoint, name: str) -> int | None:
    """Heads whose rows the converter reorders; None where it leaves the rows alone."""
    if checkpoint.config["model_type"] != "llama":
        return None
    if "q_proj" in name:
        return checkpoint.config["num_attention_heads"]
    return checkpoint.config["num_key_value_heads"] if "k_proj" in name else None


def pairs_side_by_side(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows (i, i + head_dim / 2) of each head, which RoPE turns together, become neighbours."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def pairs_half_apart(rows: np.ndarray, heads: int) -> np.ndarray:
    """The other way round: neighbours move half a head apart."""
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def write_gguf(checkpoint: GgufCheckpoint, folder: Path, tiny) -> None:
    """model.gguf: architecture and tokenizer metadata, then the tensors."""
    config = transformers_config(checkpoint)
    writer = GGUFWriter(folder / FILE, checkpoint.config["model_type"])
    add_architecture(writer, checkpoint, config)
    add_tokenizer(writer, tiny, config.vocab_size)
    factors = rope_factors(config)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    weights = draw_weights(parameter_shapes(config), checkpoint.seed, config.tie_word_embeddings)
    for name, target in gguf_names(checkpoint, weights).items():
        values = weights[name].numpy()
        heads = heads_of(checkpoint, name)
        if heads is not None:
            values = pairs_side_by_side(values, heads)
        kind = GGMLQuantizationType[
            "F32"
            if values.ndim == 1
            else checkpoint.embedding_type
            if name in ("model.embed_tokens.weight", "lm_head.weight")
            else checkpoint.matrix_type
        ]
        writer.add_tensor(target, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_architecture(writer: GGUFWriter, checkpoint: GgufCheckpoint, config) -> None:
    writer.add_name(checkpoint.name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if "head_dim" in checkpoint.config:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if config.model_type == "llama":
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(config.head_dim)
    kinds = {"F32": "ALL_F32"}
    kind = kinds.get(checkpoint.matrix_type, f"MOSTLY_{checkpoint.matrix_type}")
    writer.add_file_type(LlamaFileType[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_tokenizer(writer: GGUFWriter, tiny, vocab_size: int) -> None:
    """The tokenizer as metadata; the converter fills up to the vocabulary with unused tokens."""
    tokenizer, model = tiny.tokenizer, json.loads(tiny.tokenizer.to_str())["model"]
    known = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(i) for i in range(known)]
    tokens += [f"[PAD{i}]" for i in range(known, vocab_size)]
    writer.add_tokenizer_model(tiny.gguf_model)
    writer.add_token_list(tokens)
    writer.add_token_types([token_type(tiny, i, text) for i, text in enumerate(tokens)])
    if tiny.gguf_model == "llama":
        writer.add_token_scores(tiny.scores)
        writer.add_add_space_prefix(True)
        writer.add_add_bos_token(tiny.adds_bos)
        writer.add_unk_token_id(tokenizer.token_to_id("<unk>"))
    else:
        writer.add_tokenizer_pre(tiny.gguf_pre)
        writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
        if not tiny.adds_bos:  # where it is true, the name of the pre-tokenizer says so alone
            writer.add_add_bos_token(False)
    if tiny.bos is not None:
        writer.add_bos_token_id(tokenizer.token_to_id(tiny.bos))
    writer.add_eos_token_id(tokenizer.token_to_id(tiny.eos))
    if tiny.chat_template is not None:
        writer.add_chat_template(tiny.chat_template)


def token_type(tiny, token: int, text: str) -> TokenType:
    if token >= tiny.tokenizer.get_vocab_size():
        return TokenType.UNUSED
    if text == "<unk>":
        return TokenType.UNKNOWN
    if text in tiny.control:
        return TokenType.CONTROL
    if tiny.gguf_model == "llama" and text.startswith("<0x"):
        return TokenType.BYTE
    return TokenType.NORMAL


def rope_factors(config) -> np.ndarray | None:
    """Llama 3's scaling as GGUF carries it: what each frequency is divided by."""
    if config.rope_parameters["rope_type"] == "default":
        return None
    rotary = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding
    plain, _ = rotary.compute_default_rope_parameters(config)
    return (plain / rotary(config).inv_freq).numpy()


def load_gguf(checkpoint: GgufCheckpoint, folder: Path):
    """The model of the file, dequantized to fp32, in Transformers."""
    config = transformers_config(checkpoint)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    tensors = {tensor.name: tensor for tensor in GGUFReader(folder / FILE).tensors}
    state = {}
    for name, target in gguf_names(checkpoint, parameter_shapes(config)).items():
        values = dequantize(tensors[target].data, tensors[target].tensor_type)
        heads = heads_of(checkpoint, name)
        if heads is not None:
            values = pairs_half_apart(values, heads)
        state[name] = torch.from_numpy(np.array(values, dtype=np.float32))
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    return model.eval()
