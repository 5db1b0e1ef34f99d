"""A nudged model as a LlamaIndex LLM.

Messages are translated into a conversation, the `Nudger` answers it in pieces, and each piece becomes a response. The
translations are in `messages.py` and `responses.py`.

The public methods carry LlamaIndex's callback decorators. They share the undecorated methods at the end of the class,
so that each call is counted once.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.instrumentation.events.llm import LLMStructuredPredictEndEvent, LLMStructuredPredictStartEvent
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection, dispatcher
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.tools import BaseTool
from nudging import Nudger
from nudging._logging import log_once
from nudging.config import NudgerConfig
from nudging.prompting.conversation import Prompt
from nudging.settings import SURE_END, End, Stop
from nudging.tools.definitions import ToolChoice
from pydantic import Field, model_validator

from llamaindex_nudging.errors import NudgingLLMError, translated_errors
from llamaindex_nudging.messages import conversation, openai_tools
from llamaindex_nudging.options import engine_options
from llamaindex_nudging.responses import (
    ResponseBuilder,
    keep_first_call,
    parse_partial_json,
    partial_object,
    to_completion,
    to_response,
)
from llamaindex_nudging.tokens import context_window, longest_encoding

Output = TypeVar("Output", bound=BaseModel)

DELIMITERS = ("\n---------------------", " ---------------------\n")
"""The line that LlamaIndex's prompts put around a context, as base models tend to repeat it after their answer."""


class NudgingLLM(NudgerConfig, FunctionCallingLLM):
    """A base model that a small aligned model nudges, as a LlamaIndex LLM.

        >>> from llamaindex_nudging import NudgingLLM
        >>> llm = NudgingLLM(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> llm.complete("Why is the sky blue?").text

    The fields are the arguments of `nudging.Nudger`. The settings (rule, threshold, bet, end, lookahead, max_tokens,
    temperature, top_p, seed, stop, logprobs) can also be given per call: `llm.complete(question, threshold=0.3)`. A
    call also takes `schema` or `regex`, which constrain the answer, and `tools` with `tool_choice`.

    In a stream, the author of each delta ("base" or "nudging") is in `additional_kwargs["author"]`. The last response
    of a stream, and a response that was not streamed, have `finish_reason`, `nudge_ratio`, `rule`, `nudging_words` and
    `pieces` there. Their `raw` is the whole answer as plain data, with the token counts in `raw["usage"]`.

    By default an answer ends at the delimiter of LlamaIndex's own prompts. Your own `stop` replaces this default.

    No call raises a ValueError, because LlamaIndex takes one for a malformed answer: it is a `NudgingLLMError`.

    Attributes:
        end (float): The probability of a sure end, in [0, 1]. Default 0.5, unlike in `Nudger`.
        stop (tuple[str, ...]): Strings that end the answer. Default the delimiter of LlamaIndex's prompts.
        context_window (int | None): The maximum length of prompt and answer, in tokens. By default as the models say.
        is_function_calling_model (bool | None): False lets LlamaIndex ask for tool calls as text. Default True.
    """

    end: End = SURE_END
    stop: Stop = DELIMITERS
    context_window: int | None = Field(
        default=None, gt=0, description="Maximum number of tokens of prompt and answer; default as the models say"
    )
    is_function_calling_model: bool | None = Field(
        default=None, description="False lets LlamaIndex ask for calls as text; default as the models say"
    )

    @model_validator(mode="before")
    @classmethod
    def _only_given_fields(cls, values: Any) -> Any:
        """Leave out arguments that are None, as they are by default in other LLM classes, and log unknown ones."""
        if unknown := sorted(set(values) - set(cls.model_fields) - {"class_name"}):
            log_once(f"{cls.__name__} has no argument {', '.join(map(repr, unknown))} and ignores it")
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def class_name(cls) -> str:
        """Return the name by which LlamaIndex stores and restores an LLM of this class."""
        return "NudgingLLM"

    @property
    def nudger(self) -> Nudger:
        """The engine with the current fields. Building it is cheap, because weights are shared by model name."""
        return Nudger.from_config(self)

    @property
    @translated_errors()
    def metadata(self) -> LLMMetadata:
        """The context window, the output length and the abilities of the pair, for LlamaIndex's prompt helpers.

        The context window is the smaller one of both models, minus the tokens of the chat template.
        """
        pair = repr((self.config_of("base").identity, self.config_of("nudging").identity))
        return LLMMetadata(
            context_window=self.context_window or context_window(self.nudger, pair),
            num_output=self.max_tokens,
            is_chat_model=True,
            is_function_calling_model=self.is_function_calling_model is not False,
            model_name=self.nudger.name,
        )

    @property
    @translated_errors()
    def tokenizer(self) -> Callable[[str], list[int]]:
        """A tokenizer for LlamaIndex's token counters: `Settings.tokenizer = llm.tokenizer`.

        It is that of the model that needs more tokens for the text. So what fits into `metadata.context_window` fits
        both.
        """
        nudger = self.nudger
        return partial(longest_encoding, (nudger.base_model.tokenizer, nudger.nudging_model.tokenizer))

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the answer to a conversation.

        Args:
            messages: The messages. Histories of other LLM classes are understood too.
            **kwargs: Options of this call: settings, `schema` or `regex`, `tools` and `tool_choice`.

        Raises:
            NudgingLLMError: A setting, a message, a schema or a tool is not valid.
            ModelError: A model cannot be loaded or used.
        """
        return self._generate(conversation(messages), kwargs)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the answer to a text, which is sent as a user message.

        Args:
            prompt: The text.
            formatted: True leaves out `completion_to_prompt`, because the text has its form already.
            **kwargs: Options of this call, as in `chat`. Errors are those of `chat`.
        """
        return to_completion(self._generate(self._format_prompt(prompt, formatted), kwargs))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Yield a response for each piece of the answer: `message` has the text so far, and `delta` what is new.

        Arguments and errors are those of `chat`. Closing the generator stops the decoding.
        """
        return self._stream(conversation(messages), kwargs)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Yield a response for each piece of the answer: `text` is the text so far, and `delta` what is new.

        Arguments and errors are those of `complete`. Closing the generator stops the decoding.
        """
        prompt = self._format_prompt(prompt, formatted)
        return (to_completion(response) for response in self._stream(prompt, kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Run `chat` without blocking the event loop."""
        return await self._agenerate(conversation(messages), kwargs)

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Run `complete` without blocking the event loop."""
        return to_completion(await self._agenerate(self._format_prompt(prompt, formatted), kwargs))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Run `stream_chat` without blocking the event loop."""
        return self._astream(conversation(messages), kwargs)

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Run `stream_complete` without blocking the event loop."""
        prompt = self._format_prompt(prompt, formatted)
        return (to_completion(response) async for response in self._astream(prompt, kwargs))

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the tool calls of a response. In a stream their arguments may be incomplete.

        Raises:
            NudgingLLMError: The response has no tool calls, and `error_on_no_tool_call` is True.
        """
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if error_on_no_tool_call and not calls:
            raise NudgingLLMError(
                f"the model called no tool, it answered {(response.message.content or '')[:200]!r}: "
                "force a call with tool_required=True, or pass error_on_no_tool_call=False"
            )
        return [
            ToolSelection(tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=_arguments(call))
            for call in calls
        ]

    @dispatcher.span
    def structured_predict(
        self,
        output_cls: type[Output],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Output:
        """Return an object of this class. The answer is constrained to its JSON schema, so it always parses.

        Args:
            output_cls: A pydantic model. Its own validators can still reject an answer, because a grammar knows only
                its schema.
            prompt: The prompt template.
            llm_kwargs: Options of this call.
            **prompt_args: The variables of the template.

        Raises:
            NudgingLLMError: The class cannot be expressed as a grammar, needs more than `max_tokens`, or rejects the
                answer.
        """
        _start_prediction(output_cls, prompt, prompt_args)
        response = self.chat(self._format_messages(prompt, prompt_args), **_with_schema(output_cls, llm_kwargs))
        return _finish_prediction(output_cls, response)

    @dispatcher.span
    async def astructured_predict(
        self,
        output_cls: type[Output],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Output:
        """Run `structured_predict` without blocking the event loop."""
        _start_prediction(output_cls, prompt, prompt_args)
        response = await self.achat(self._format_messages(prompt, prompt_args), **_with_schema(output_cls, llm_kwargs))
        return _finish_prediction(output_cls, response)

    # LlamaIndex's stream_structured_predict and astream_structured_predict call the next two methods.

    def _structured_stream_call(
        self,
        output_cls: type[Output],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        messages = self._format_messages(prompt, prompt_args)
        responses = self.stream_chat(messages, **_with_schema(output_cls, llm_kwargs))
        return (_parse_object(output_cls, response) for response in responses)

    async def _structured_astream_call(
        self,
        output_cls: type[Output],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        messages = self._format_messages(prompt, prompt_args)
        responses = await self.astream_chat(messages, **_with_schema(output_cls, llm_kwargs))
        return (_parse_object(output_cls, response) async for response in responses)

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: ToolChoice | bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        message = ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
        return {
            "messages": [*(chat_history or ()), *([message] if message else ())],
            "tools": openai_tools(tools),
            "tool_choice": ("required" if tool_required else "auto") if tool_choice is None else tool_choice,
            "parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def _validate_chat_with_tools_response(
        self, response: ChatResponse, tools: Sequence[BaseTool], allow_parallel_tool_calls: bool = False, **kwargs: Any
    ) -> ChatResponse:
        """Keep only the first tool call, unless several are allowed."""
        if not allow_parallel_tool_calls:
            keep_first_call(response.message)
        return response

    @translated_errors()
    def _format_prompt(self, prompt: str, formatted: bool) -> str:
        return prompt if formatted or self.completion_to_prompt is None else self.completion_to_prompt(prompt)

    def _format_messages(self, prompt: BasePromptTemplate, prompt_args: Mapping[str, Any]) -> list[ChatMessage]:
        return self._extend_messages(prompt.format_messages(llm=self, **prompt_args))

    @translated_errors()
    def _generate(self, prompt: Prompt, options: Mapping[str, Any]) -> ChatResponse:
        return to_response(self.nudger.generate(prompt, **engine_options(options)))

    async def _agenerate(self, prompt: Prompt, options: Mapping[str, Any]) -> ChatResponse:
        with translated_errors():
            return to_response(await self.nudger.agenerate(prompt, **engine_options(options)))

    def _stream(self, prompt: Prompt, options: Mapping[str, Any]) -> Generator[ChatResponse, None, None]:
        responses = ResponseBuilder()
        with translated_errors(), self.nudger.stream(prompt, **engine_options(options)) as stream:
            for piece in stream:
                yield responses.add_piece(piece, stream.partial)
            yield responses.finish(stream.answer)

    async def _astream(self, prompt: Prompt, options: Mapping[str, Any]) -> AsyncGenerator[ChatResponse, None]:
        responses = ResponseBuilder()
        with translated_errors():
            async with self.nudger.astream(prompt, **engine_options(options)) as stream:
                async for piece in stream:
                    yield responses.add_piece(piece, stream.partial)
                yield responses.finish(stream.answer)


def _with_schema(output_cls: type[BaseModel], llm_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**(llm_kwargs or {}), "schema": output_cls}


@translated_errors()
def _parse_object(output_cls: type[BaseModel], response: ChatResponse) -> BaseModel:
    """Return the object of a streamed response. Only the last response, which has a finish reason, is complete."""
    text = response.message.content or ""
    is_complete = "finish_reason" in response.additional_kwargs
    return output_cls.model_validate_json(text) if is_complete else partial_object(output_cls, text)


def _arguments(call: ToolCallBlock) -> dict[str, Any]:
    """Return the arguments of a call, or {} if they are not a JSON object, as LlamaIndex's own classes do."""
    arguments: Any = call.tool_kwargs
    with suppress(ValueError):
        arguments = parse_partial_json(arguments) if isinstance(arguments, str) else arguments
    return arguments if isinstance(arguments, dict) else {}


def _start_prediction(output_cls: type[BaseModel], prompt: BasePromptTemplate, prompt_args: dict[str, Any]) -> None:
    """Send the event that a structured prediction starts."""
    dispatcher.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args))


@translated_errors()
def _finish_prediction(output_cls: type[Output], response: ChatResponse) -> Output:
    """Return the predicted object, and send the event that the structured prediction ended."""
    output = output_cls.model_validate_json(response.message.content or "")
    dispatcher.event(LLMStructuredPredictEndEvent(output=output))
    return output
