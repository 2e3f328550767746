"""The tiny checkpoints: what each family's config.json says.

Sizes are no powers of two on purpose: a kernel that assumes a multiple of 16, 32 or 64 fails here.
"""

from dataclasses import dataclass, field


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


@dataclass(frozen=True)
class GgufCheckpoint:
    """One GGUF file. `config` is what Transformers needs to compute the same model."""

    name: str
    seed: int
    tokenizer: str
    config: dict
    matrix_type: str
    embedding_type: str

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
            vocab_size=353,
            hidden_size=60,
            intermediate_size=76,
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
            vocab_size=353,
            hidden_size=60,
            intermediate_size=60,
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
            vocab_size=353,
            hidden_size=60,
            intermediate_size=84,
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
            vocab_size=353,
            hidden_size=60,
            intermediate_size=68,
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
            hidden_size=60,
            intermediate_size=92,
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
            intermediate_size=60,
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
        seed=14,
        tokenizer="opt",
        config=opt(
            vocab_size=307,
            hidden_size=54,
            word_embed_proj_dim=44,
            ffn_dim=92,
            num_hidden_layers=2,
            num_attention_heads=3,
            do_layer_norm_before=False,
            torch_dtype="float32",
        ),
        drops_model_prefix=True,
    ),
]

# Rows of quantized matrices are whole groups of 32; these four files hold the same weights.
QUANTIZED = llama(
    vocab_size=307,
    hidden_size=96,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=2,
    rope_theta=100000.0,
    tie_word_embeddings=True,
    bos_token_id=1,
    eos_token_id=2,
)

GGUF_CHECKPOINTS = [
    GgufCheckpoint("llama-gguf-f16", 21, "smollm", QUANTIZED, "F16", "F16"),
    GgufCheckpoint("llama-gguf-q8_0", 21, "smollm", QUANTIZED, "Q8_0", "Q8_0"),
    GgufCheckpoint("llama-gguf-q4_0", 21, "smollm", QUANTIZED, "Q4_0", "Q4_0"),
    # As in the default model: the table, which is the lm_head too, keeps eight bits.
    GgufCheckpoint("llama-gguf-q4_1", 21, "smollm", QUANTIZED, "Q4_1", "Q8_0"),
    GgufCheckpoint(
        "llama-gguf-f32",
        seed=22,
        tokenizer="llama",
        config=llama(
            vocab_size=353,
            hidden_size=36,
            intermediate_size=52,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=3,
            bos_token_id=1,
            eos_token_id=2,
        ),
        matrix_type="F32",
        embedding_type="F32",
    ),
    GgufCheckpoint(
        "llama3-gguf-bf16",
        seed=23,
        tokenizer="llama-bpe",
        config=llama(
            vocab_size=307,
            hidden_size=60,
            intermediate_size=68,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=20,
            rope_scaling=LLAMA3_SCALING,
            bos_token_id=303,
            eos_token_id=304,
        ),
        matrix_type="BF16",
        embedding_type="BF16",
    ),
    GgufCheckpoint(
        "qwen2-gguf-f16",
        seed=24,
        tokenizer="qwen2",
        config=qwen2(
            vocab_size=313,
            hidden_size=60,
            intermediate_size=68,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            bos_token_id=304,
            eos_token_id=306,
        ),
        matrix_type="F16",
        embedding_type="F16",
    ),
    GgufCheckpoint(
        "qwen3-gguf-f16",
        seed=25,
        tokenizer="qwen2",
        config=qwen2(
            architectures=["Qwen3ForCausalLM"],
            model_type="qwen3",
            attention_bias=False,
            vocab_size=313,
            hidden_size=54,
            intermediate_size=76,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=3,
            head_dim=24,
            tie_word_embeddings=True,
            bos_token_id=304,
            eos_token_id=306,
        ),
        matrix_type="F16",
        embedding_type="F16",
    ),
]
