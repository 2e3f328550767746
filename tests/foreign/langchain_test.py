"""LangChain's own tests of chat models, on its OpenAI package with our address."""

from conftest import SERVER
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestChatModel(ChatModelIntegrationTests):
    """Each property that is false skips the tests of what the server does not have yet."""

    has_tool_calling = False
    has_tool_choice = False
    has_structured_output = False
    supports_json_mode = False
    model_override_value = SERVER.other_model

    @property
    def chat_model_class(self):
        return ChatOpenAI

    @property
    def chat_model_params(self):
        return {
            "model": SERVER.model,
            "base_url": SERVER.base_url,
            "api_key": SERVER.api_key,
            "stream_usage": True,
        }
