"""Wrong models: each mutation is a mistake that an engine could make.

A golden is worth something only if every mistake moves its logprobs by much more than the
tolerance, so each one that applies to a checkpoint is made on the reference itself and measured.
"""

import sys
from contextlib import contextmanager

import torch

# A golden must move by more than this; the engine's tolerance is 1e-4.
MIN_CHANGE = 0.05


@contextmanager
def replaced(owner, name: str, value):
    """`owner.name = value` for the length of a with block."""
    missing = object()
    before = vars(owner).get(name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


@contextmanager
def filled(model, suffix: str, value: float):
    """Every parameter whose name ends in `suffix` holds `value`."""
    parameters = [p for name, p in model.named_parameters() if kind_of(name) == suffix]
    before = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for parameter in parameters:
            parameter.fill_(value)
    yield
    with torch.no_grad():
        for parameter, values in zip(parameters, before):
            parameter.copy_(values)


@contextmanager
def hooked(modules, hook):
    """A forward hook on each module."""
    handles = [module.register_forward_hook(hook) for module in modules]
    yield
    for handle in handles:
        handle.remove()


def kind_of(parameter: str) -> str:
    """A name without its layer: "model.layers.3.mlp.up_proj.bias" -> "mlp.up_proj.bias"."""
    _, layer, rest = parameter.partition(".layers.")
    return rest.partition(".")[2] if layer else parameter


def without_rope(rotary):
    def forward(x, position_ids):
        cos, sin = type(rotary).forward(rotary, x, position_ids)
        return torch.ones_like(cos), torch.zeros_like(sin)

    return replaced(rotary, "forward", forward)


@contextmanager
def without_rope_scaling(rotary):
    scaled = rotary.inv_freq
    rotary.inv_freq, _ = rotary.compute_default_rope_parameters(rotary.config)
    yield
    rotary.inv_freq = scaled


@contextmanager
def keys_rotated_one_further(rotary, modeling):
    """K gets the RoPE of the next position, Q its own."""
    rotate, shifted = modeling.apply_rotary_pos_emb, {}

    def forward(x, position_ids):
        shifted["cos"], shifted["sin"] = type(rotary).forward(rotary, x, position_ids + 1)
        return type(rotary).forward(rotary, x, position_ids)

    def apply(q, k, cos, sin, **options):
        return rotate(q, k, cos, sin)[0], rotate(q, k, shifted["cos"], shifted["sin"])[1]

    with replaced(rotary, "forward", forward), replaced(modeling, "apply_rotary_pos_emb", apply):
        yield


def rope_of_neighbours(modeling):
    """Rotates elements (2i, 2i + 1) where these models rotate (i, i + head_dim / 2)."""

    def rotated(x, cos, sin):
        half = x.shape[-1] // 2
        cos, sin = (t[..., :half].unsqueeze(1).repeat_interleave(2, dim=-1) for t in (cos, sin))
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
        return x * cos + turned * sin

    def apply(q, k, cos, sin, **options):
        return rotated(q, cos, sin), rotated(k, cos, sin)

    return replaced(modeling, "apply_rotary_pos_emb", apply)


def shift_one_token(_module, _inputs, output):
    """Token i gets what belongs to token i - 1."""
    return torch.cat((output[:, :1], output[:, :-1]), dim=1)


def mutations_of(model):
    """(name, context manager factory) for every mutation that means something on this model."""
    modeling = sys.modules[type(model).__module__]
    config = model.config
    decoder = model.get_decoder()
    attentions = [layer.self_attn for layer in decoder.layers]
    keys = [attention.k_proj for attention in attentions]
    values = [attention.v_proj for attention in attentions]

    rotary = getattr(decoder, "rotary_emb", None)
    if rotary is not None:
        yield "no RoPE", lambda: without_rope(rotary)
        yield "K rotated one position further", lambda: keys_rotated_one_further(rotary, modeling)
        yield "RoPE of neighbouring elements", lambda: rope_of_neighbours(modeling)
        if rotary.rope_type != "default":
            yield "no RoPE scaling", lambda: without_rope_scaling(rotary)
    positions = getattr(decoder, "embed_positions", None)
    if positions is not None:
        yield "positions without their offset of 2", lambda: replaced(positions, "offset", 0)
        yield "no position embedding", lambda: hooked([positions], lambda m, i, out: out * 0)

    yield "K shifted by one token", lambda: hooked(keys, shift_one_token)
    yield "V shifted by one token", lambda: hooked(values, shift_one_token)

    if getattr(config, "num_key_value_heads", config.num_attention_heads) not in (
        1,
        config.num_attention_heads,
    ):
        yield (
            "query heads dealt out in turns",
            lambda: replaced(modeling, "repeat_kv", lambda kv, n: kv.repeat(1, n, 1, 1)),
        )

    window = getattr(config, "sliding_window", None)
    if window is not None:
        yield "no sliding window", lambda: replaced(config, "sliding_window", 1 << 20)
        for wrong in (window - 1, window + 1):
            yield (
                f"sliding window of {wrong}",
                lambda wrong=wrong: replaced(config, "sliding_window", wrong),
            )
        types = getattr(config, "layer_types", [])
        if len(set(types)) > 1:
            every = ["sliding_attention"] * len(types)
            yield "sliding window in every layer", lambda: replaced(config, "layer_types", every)

    kinds = dict.fromkeys(kind_of(name) for name, _ in model.named_parameters())
    for kind in kinds:
        if kind.endswith(".bias"):
            yield f"no {kind}", lambda kind=kind: filled(model, kind, 0.0)
        elif "norm" in kind:
            yield f"{kind} of ones", lambda kind=kind: filled(model, kind, 1.0)
    for kind in dict.fromkeys(kind_of(n) for n, _ in model.named_modules() if "norm" in n):
        modules = [m for name, m in model.named_modules() if kind_of(name) == kind]
        yield (
            f"no {kind}",
            lambda modules=modules: hooked(modules, lambda m, inputs, out: inputs[0]),
        )


def changes_nothing(model, name: str) -> bool:
    """Mutations that no test can see, by arithmetic.

    Without RoPE a bias of K adds the same q·b to every score of a row, which softmax takes away.
    """
    return name == "no self_attn.k_proj.bias" and model.config.model_type == "opt"
