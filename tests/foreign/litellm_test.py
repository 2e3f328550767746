"""LiteLLM, by each of the names that it has for servers that speak OpenAI's language."""

import litellm
import pytest

CHAT = ("openai", "hosted_vllm")
ALL = (*CHAT, "text-completion-openai")
MESSAGES = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture(params=ALL)
def ask(request, server):
    """The fields of a short greedy answer, by one provider."""
    return fields_of(request.param, server)


def fields_of(provider, server):
    return {
        "model": f"{provider}/{server.model}",
        "messages": MESSAGES,
        "max_tokens": 16,
        "temperature": 0,
        "api_base": server.base_url,
        "api_key": server.api_key,
        "num_retries": 0,
    }


def test_completion(ask):
    answer = litellm.completion(**ask)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= 16


def test_stream(ask):
    whole = litellm.completion(**ask)
    chunks = list(litellm.completion(**ask, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


@pytest.mark.parametrize("provider", CHAT)
def test_usage_of_a_stream(server, provider):
    ask = fields_of(provider, server)
    whole = litellm.completion(**ask)
    chunks = list(litellm.completion(**ask, stream=True, stream_options={"include_usage": True}))
    usages = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    assert usages[-1].completion_tokens == whole.usage.completion_tokens
    assert usages[-1].prompt_tokens == whole.usage.prompt_tokens


async def test_acompletion(ask):
    answer = await litellm.acompletion(**ask)
    text = ""
    async for chunk in await litellm.acompletion(**ask, stream=True):
        text += chunk.choices[0].delta.content or ""
    assert text == answer.choices[0].message.content


# It looks for words of OpenAI's and vLLM's in the message, and not at the code.
def test_context_window_exceeded(server, ask):
    messages = [{"role": "user", "content": "word " * server.max_model_len}]
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(**ask | {"messages": messages})
    for max_tokens in (server.max_model_len, 10 * server.max_model_len):
        with pytest.raises(litellm.ContextWindowExceededError):
            litellm.completion(**ask | {"max_tokens": max_tokens})


def test_other_errors(ask):
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**ask | {"model": ask["model"] + "-unknown"})
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**ask | {"api_key": "wrong"})
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(**ask | {"temperature": 3})
