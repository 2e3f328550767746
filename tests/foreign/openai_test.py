"""OpenAI's own client for Python."""

import time

import openai
import pytest

MESSAGES = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0) as client:
        yield client


@pytest.fixture
def ask(server):
    """The fields of a short greedy answer."""
    return {"model": server.model, "messages": MESSAGES, "max_tokens": 24, "temperature": 0}


@pytest.fixture
def go_on(server):
    """The fields of a short greedy continuation."""
    return {"model": server.model, "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}


def test_chat(client, server, ask):
    answer = client.chat.completions.create(**ask)
    [choice] = answer.choices
    assert answer.model == server.model
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens <= 24


def test_stream(client, ask):
    whole = client.chat.completions.create(**ask)
    stream = client.chat.completions.create(
        **ask, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] == whole.choices[0].finish_reason and not any(reasons[:-1])


def test_stream_helper(client, ask):
    ask |= {"max_tokens": 400}  # the helper raises for an answer that is cut off
    whole = client.chat.completions.create(**ask)
    with client.chat.completions.stream(**ask) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason


def test_stream_helper_of_an_answer_that_is_cut_off(client, ask):
    with client.chat.completions.stream(**ask | {"max_tokens": 4}) as stream:
        with pytest.raises(openai.LengthFinishReasonError):
            stream.get_final_completion()


def test_stream_helper_with_logprobs(client, ask):
    ask |= {"max_tokens": 400}
    with client.chat.completions.stream(**ask, logprobs=True, top_logprobs=1) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"logprobs.content.delta", "logprobs.content.done"} <= kinds
    tokens = [position.token for position in final.choices[0].logprobs.content]
    assert "".join(tokens).startswith(final.choices[0].message.content)


def test_a_stream_that_is_left_ends_its_request(client, server, ask):
    fields = ask | {"max_tokens": 800, "extra_body": {"ignore_eos": True}}
    stream = client.chat.completions.create(**fields, stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    assert server.metric("hearth_num_requests_running") == 1
    stream.close()
    deadline = time.monotonic() + 5
    while server.metric("hearth_num_requests_running") > 0:
        assert time.monotonic() < deadline, "still running"
        time.sleep(0.05)


def test_logprobs(client, ask):
    answer = client.chat.completions.create(**ask, logprobs=True, top_logprobs=3)
    [choice] = answer.choices
    assert len(choice.logprobs.content) == answer.usage.completion_tokens
    for position in choice.logprobs.content:
        assert len(position.top_logprobs) == 3
        assert position.logprob == pytest.approx(position.top_logprobs[0].logprob)  # greedy
        assert bytes(position.bytes).decode(errors="replace") == position.token


def test_n(client, ask):
    fields = ask | {"n": 3, "temperature": 1.0, "seed": 7}
    answer = client.chat.completions.create(**fields)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    again = client.chat.completions.create(**fields)
    texts = [[choice.message.content for choice in each.choices] for each in (answer, again)]
    assert texts[0] == texts[1]
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**fields, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts[0]


def test_stop(client, ask):
    whole = client.chat.completions.create(**ask).choices[0].message.content
    stop = whole[5:8]
    [choice] = client.chat.completions.create(**ask, stop=[stop]).choices
    assert choice.message.content == whole[: whole.index(stop)]
    assert choice.finish_reason == "stop"


def test_completions(client, go_on):
    answer = client.completions.create(**go_on)
    assert answer.object == "text_completion" and answer.choices[0].text
    streamed = [chunk.choices[0].text for chunk in client.completions.create(**go_on, stream=True)]
    assert "".join(streamed) == answer.choices[0].text


def test_echo(client, go_on):
    plain = client.completions.create(**go_on).choices[0].text
    [choice] = client.completions.create(**go_on, echo=True, logprobs=2).choices
    assert choice.text == go_on["prompt"] + plain
    logprobs = choice.logprobs
    assert "".join(logprobs.tokens) == choice.text
    assert logprobs.token_logprobs[0] is None and all(p <= 0 for p in logprobs.token_logprobs[1:])
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert choice.text.startswith(token, offset)


def test_several_prompts(client, go_on):
    prompts = [go_on["prompt"], "The sea is"]
    alone = [client.completions.create(**go_on | {"prompt": p}).choices[0].text for p in prompts]
    together = client.completions.create(**go_on | {"prompt": prompts})
    assert [choice.index for choice in together.choices] == [0, 1]
    assert [choice.text for choice in together.choices] == alone
    twice = client.completions.create(**go_on | {"prompt": prompts, "n": 2})
    assert [choice.text for choice in twice.choices] == [alone[0], alone[0], alone[1], alone[1]]
    streamed = ["", ""]
    for chunk in client.completions.create(**go_on | {"prompt": prompts, "stream": True}):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == alone


def test_models(client, server):
    names = [model.id for model in client.models.list()]
    assert names == [server.model, server.other_model]
    assert client.models.retrieve(server.model).id == server.model


def test_errors(client, server, ask):
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(**ask | {"temperature": 3})
    assert (bad.value.param, bad.value.code) == ("temperature", "invalid_value")
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(**ask | {"model": "gpt-9"})
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(
            **ask | {"messages": [{"role": "user", "content": "word " * server.max_model_len}]}
        )
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


async def test_async_client(server, ask):
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key=server.api_key) as client:
        whole = await client.chat.completions.create(**ask)
        text = ""
        async for chunk in await client.chat.completions.create(**ask, stream=True):
            text += chunk.choices[0].delta.content or ""
    assert text == whole.choices[0].message.content
