"""What Hugging Face Transformers answers on a checkpoint: the numbers of `golden.json`.

Everything runs on the CPU in fp32 with eager attention and without a KV cache: each step is a full
forward pass over the tokens so far, so that no cache of the reference can be wrong.
"""

import torch

PROMPT_LENGTHS = (1, 2, 7, 16, 17, 33, 100, 600)
NEW_TOKENS = 24
TOP_STEPS, TOP_TOKENS = 4, 5
# Every greedy choice wins by at least this, so a correct engine has only one right answer.
MIN_MARGIN = 0.005


def lcg_tokens(seed: int, length: int, vocab_size: int) -> list[int]:
    """`length` token ids from Knuth's 64-bit MMIX generator, taken from its upper bits."""
    state, tokens = seed, []
    for _ in range(length):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        tokens.append((state >> 33) % vocab_size)
    return tokens


@torch.no_grad()
def logprobs_of(model, tokens: list[int]) -> torch.Tensor:
    """log p(next token | tokens[: i + 1]) for every i: [len(tokens), vocab_size], raw logits."""
    dtype = next(model.parameters()).dtype
    logits = model(torch.tensor([tokens]), use_cache=False).logits[0]
    return torch.log_softmax(logits.to(dtype), dim=-1)


def golden_prompt(model, tokens: list[int], stop_tokens: set[int]) -> dict | None:
    """The record of one prompt; None where it has a near tie or ends early: draw another."""
    sequence, margins = list(tokens), []
    for _ in range(NEW_TOKENS):
        last = logprobs_of(model, sequence)[-1]
        best, second = torch.topk(last, 2).values.tolist()
        margins.append(best - second)
        sequence.append(int(last.argmax()))
        if margins[-1] < MIN_MARGIN or sequence[-1] in stop_tokens:
            return None
    greedy = sequence[len(tokens) :]
    all_logprobs = logprobs_of(model, sequence)
    generated = all_logprobs[len(tokens) - 1 : -1]
    assert generated.argmax(dim=-1).tolist() == greedy, "a full pass disagrees with the steps"
    top = torch.topk(generated[:TOP_STEPS], TOP_TOKENS)
    return {
        "length": len(tokens),
        "tokens": tokens,
        "greedy": greedy,
        "margins": [round(margin, 4) for margin in margins],
        "logprobs": [round(float(generated[i, token]), 6) for i, token in enumerate(greedy)],
        "top": [
            [[int(token), round(float(value), 6)] for token, value in zip(ids, values)]
            for ids, values in zip(top.indices, top.values)
        ],
        "prompt_logprobs": [
            [i, round(float(all_logprobs[i - 1, tokens[i]]), 6)]
            for i in prompt_positions(len(tokens))
        ],
    }


def prompt_positions(length: int) -> list[int]:
    """Positions whose prompt logprob is kept: all of a short prompt, every 50th of a long one."""
    if length <= 100:
        return list(range(1, length))
    return [*range(50, length, 50), length - 1]


def golden_prompts(model, vocab_size: int, stop_tokens: set[int], first_seed: int) -> list[dict]:
    """One record a length; the seed counts up until the prompt has a single right answer."""
    prompts = []
    for length in PROMPT_LENGTHS:
        seed = first_seed + length
        while True:
            record = golden_prompt(model, lcg_tokens(seed, length, vocab_size), stop_tokens)
            if record is not None:
                break
            seed += 10_000
        prompts.append({"seed": seed, **record})
    return prompts


def largest_change(model, prompts: list[dict]) -> float:
    """The largest |difference| between the golden's logprobs and this model's, teacher-forced."""
    largest = 0.0
    for prompt in prompts:
        length = prompt["length"]
        logprobs = logprobs_of(model, prompt["tokens"] + prompt["greedy"])
        pairs = [(logprobs[i - 1, prompt["tokens"][i]], v) for i, v in prompt["prompt_logprobs"]]
        for step, (token, value) in enumerate(zip(prompt["greedy"], prompt["logprobs"])):
            pairs.append((logprobs[length - 1 + step, token], value))
        for step, top in enumerate(prompt["top"]):
            pairs += [(logprobs[length - 1 + step, token], value) for token, value in top]
        largest = max(largest, max(abs(float(actual) - value) for actual, value in pairs))
    return largest
