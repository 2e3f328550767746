"""lm-eval's clients: what they make of our log probabilities is what another route says."""

import os
from math import isclose

import pytest
import requests
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

PAIRS = [
    ("The capital of France is", " Paris"),
    ("The capital of France is", " Berlin, I was told"),
    ("Two and two is", " four"),
    ("Once upon a time there was a", " king who had three daughters"),
]
#: Tokens against tokens by our server, one at a time and several, one caller and several.
WAYS = [
    {"batch_size": 1, "num_concurrent": 1},
    {"batch_size": 4, "num_concurrent": 1},
    {"batch_size": 1, "num_concurrent": 4},
    {"batch_size": 2, "num_concurrent": 2, "tokenized_requests": False},
]


@pytest.fixture(params=WAYS, ids=str)
def client(request, server):
    return completions(server, **request.param)


def completions(server, **options):
    os.environ["OPENAI_API_KEY"] = server.api_key
    return LocalCompletionsAPI(
        base_url=f"{server.base_url}/completions",
        tokenizer_backend="remote",
        auth_token=server.api_key,
        model=server.model,
        max_length=server.max_model_len,
        **options,
    )


def instances(kind, arguments):
    return [
        Instance(request_type=kind, doc={}, arguments=each, idx=i)
        for i, each in enumerate(arguments)
    ]


def post(server, path, **body):
    headers = {"Authorization": f"Bearer {server.api_key}"}
    answer = requests.post(server.base_url.removesuffix("/v1") + path, headers=headers, json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


def greedy(server, path, **body):
    (choice,) = post(server, path, model=server.model, max_tokens=12, temperature=0, **body)[
        "choices"
    ]
    return choice


def tokens_of(server, text):
    return post(server, "/tokenize", model=server.model, prompt=text)["tokens"]


def scores_of(server, tokens):
    """Log probability of each token but the first, and whether it is the likeliest."""
    (choice,) = post(
        server, "/v1/completions", model=server.model, prompt=tokens, max_tokens=1, prompt_logprobs=1
    )["choices"]
    for token, likely in zip(tokens[1:], choice["prompt_logprobs"][1:], strict=True):
        one = likely[str(token)]["logprob"]
        yield one, one == max(each["logprob"] for each in likely.values())


def test_loglikelihood(client, server):
    found = client.loglikelihood(instances("loglikelihood", PAIRS), disable_tqdm=True)
    for (context, continuation), (sum_found, greedy_found) in zip(PAIRS, found, strict=True):
        before, whole = tokens_of(server, context), tokens_of(server, context + continuation)
        scores = list(scores_of(server, whole))[len(before) - 1 :]
        assert isclose(sum_found, sum(one for one, _ in scores), rel_tol=1e-4)
        assert greedy_found == all(likeliest for _, likeliest in scores)
    assert found[0][0] > found[1][0]
    assert len({greedy for _, greedy in found}) == 2


def test_loglikelihood_rolling(client, server):
    texts = ["The sky is blue, and the grass is green.", "one two three four five"]
    requested = instances("loglikelihood_rolling", [(text,) for text in texts])
    for text, found in zip(
        texts, client.loglikelihood_rolling(requested, disable_tqdm=True), strict=True
    ):
        tokens = [client.prefix_token_id, *tokens_of(server, text)]
        assert isclose(found, sum(one for one, _ in scores_of(server, tokens)), rel_tol=1e-4)


def test_generate_until(client, server):
    ends = [(text, {"until": ["\n", "."], "max_gen_toks": 12}) for text, _ in PAIRS]
    found = client.generate_until(instances("generate_until", ends), disable_tqdm=True)
    for (prompt, _), text in zip(ends, found, strict=True):
        choice = greedy(server, "/v1/completions", prompt=prompt, stop=["\n", "."])
        assert text == choice["text"]
    assert any(found)


def test_chat(server):
    os.environ["OPENAI_API_KEY"] = server.api_key
    client = LocalChatCompletion(
        base_url=f"{server.base_url}/chat/completions",
        model=server.model,
        max_length=server.max_model_len,
        num_concurrent=2,
    )
    messages = [[{"role": "user", "content": text}] for text, _ in PAIRS]
    chats = [client.apply_chat_template(each) for each in messages]
    ends = [(chat, {"until": ["."], "max_gen_toks": 12}) for chat in chats]
    found = client.generate_until(instances("generate_until", ends), disable_tqdm=True)
    for each, text in zip(messages, found, strict=True):
        choice = greedy(server, "/v1/chat/completions", messages=each, stop=["."])
        assert text == choice["message"]["content"]
    assert any(found)
