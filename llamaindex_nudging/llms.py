"""A nudged model as a LlamaIndex LLM.

LlamaIndex messages -> conversation -> `Nudger` -> pieces -> responses. The public methods carry LlamaIndex's callback
decorators and share the undecorated ones at the end, so that every call is counted once. The two translations are in
`messages` and `responses`.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
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
from nudging.config import NudgerConfig
from nudging.prompting.conversation import Prompt
from nudging.settings import Stop
from nudging.tools.definitions import ToolChoice

from llamaindex_nudging.messages import conversation, described
from llamaindex_nudging.responses import Responses, completion, object_so_far, so_far, whole

Object = TypeVar("Object", bound=BaseModel)

DELIMITER = "\n---------------------"
"""What LlamaIndex's prompts put around a context. A base model that has answered tends to go on with it."""


class NudgingLLM(NudgerConfig, FunctionCallingLLM):
    """Answer with a base model that a small aligned model nudges.

        >>> from llamaindex_nudging import NudgingLLM
        >>> llm = NudgingLLM(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> llm.complete("Why is the sky blue?").text  # doctest: +SKIP

    Fields are the arguments of `nudging.Nudger`. The settings among them (threshold, lookahead, max_tokens,
    temperature, top_p, seed, stop, logprobs) may be given per call too: `llm.complete(question, threshold=0.3)`; and so
    may `schema` and `regex`, which the answer is then held to, and `tools` with `tool_choice`.

    A streamed response names the author ("base" or "nudging") of its delta in `additional_kwargs["author"]`; the last
    one, and one that was not streamed, has `finish_reason`, `nudge_ratio`, `nudging_words` and `pieces` there, and the
    whole answer as plain data in `raw`, with its usage in `raw["usage"]`.

    Unlike the engine it ends an answer at the delimiter of LlamaIndex's own prompts, unless `stop` is given.
    """

    stop: Stop = (DELIMITER,)

    @classmethod
    def class_name(cls) -> str:
        return "NudgingLLM"

    @property
    def nudger(self) -> Nudger:
        """The engine with the fields as they are now. It is light: models are shared by name."""
        return Nudger.from_config(self)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            context_window=self.nudger.context_length,
            num_output=self.max_tokens,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.nudger.name,
        )

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """The base model's, for LlamaIndex's counters: `Settings.tokenizer = llm.tokenizer`."""
        return partial(self.nudger.base_model.tokenizer.encode, special_tokens=False)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._answer(conversation(messages), kwargs)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return completion(self._answer(self._question(prompt, formatted), kwargs))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream(conversation(messages), kwargs)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        return (completion(response) for response in self._stream(self._question(prompt, formatted), kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._aanswer(conversation(messages), kwargs)

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return completion(await self._aanswer(self._question(prompt, formatted), kwargs))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        return self._astream(conversation(messages), kwargs)

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        return (completion(response) async for response in self._astream(self._question(prompt, formatted), kwargs))

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The tool calls that a response makes, as far as they are written.

        Raises:
            ValueError: It makes none, and `error_on_no_tool_call`.
        """
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if error_on_no_tool_call and not calls:
            raise ValueError(
                f"the model called no tool, it said {(response.message.content or '')[:200]!r}: "
                "ask for one with tool_required=True, or pass error_on_no_tool_call=False"
            )
        return [
            ToolSelection(tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=_arguments(call))
            for call in calls
        ]

    @dispatcher.span
    def structured_predict(
        self,
        output_cls: type[Object],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Object:
        """An object of this class, which the answer is held to: it validates, always.

        Args:
            output_cls: A pydantic model. What its own validators ask beyond its JSON schema, no grammar knows.
            prompt: What is asked.
            llm_kwargs: Settings for this call.
            **prompt_args: Of the prompt.

        Raises:
            GrammarError: The class cannot be expressed as a grammar, or is too large for `max_tokens`.
        """
        dispatcher.event(_structured_start(output_cls, prompt, prompt_args))
        response = self.chat(self._asked(prompt, prompt_args), **_held_to(output_cls, llm_kwargs))
        output = output_cls.model_validate_json(response.message.content or "")
        dispatcher.event(LLMStructuredPredictEndEvent(output=output))
        return output

    @dispatcher.span
    async def astructured_predict(
        self,
        output_cls: type[Object],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Object:
        """`structured_predict` without blocking the event loop."""
        dispatcher.event(_structured_start(output_cls, prompt, prompt_args))
        response = await self.achat(self._asked(prompt, prompt_args), **_held_to(output_cls, llm_kwargs))
        output = output_cls.model_validate_json(response.message.content or "")
        dispatcher.event(LLMStructuredPredictEndEvent(output=output))
        return output

    # stream_structured_predict and astream_structured_predict are LlamaIndex's own, around these two

    def _structured_stream_call(
        self,
        output_cls: type[Object],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        responses = self.stream_chat(self._asked(prompt, prompt_args), **_held_to(output_cls, llm_kwargs))
        return (_object(output_cls, response) for response in responses)

    async def _structured_astream_call(
        self,
        output_cls: type[Object],
        prompt: BasePromptTemplate,
        llm_kwargs: Mapping[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        responses = await self.astream_chat(self._asked(prompt, prompt_args), **_held_to(output_cls, llm_kwargs))
        return (_object(output_cls, response) async for response in responses)

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
        asked = ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
        return {
            "messages": [*(chat_history or ()), *([asked] if asked else ())],
            "tools": described(tools),
            "tool_choice": ("required" if tool_required else "auto") if tool_choice is None else tool_choice,
            "parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def _validate_chat_with_tools_response(
        self, response: ChatResponse, tools: Sequence[BaseTool], allow_parallel_tool_calls: bool = False, **kwargs: Any
    ) -> ChatResponse:
        """At most one call, unless several are allowed."""
        if not allow_parallel_tool_calls:
            blocks = response.message.blocks
            first = next((block for block in blocks if isinstance(block, ToolCallBlock)), None)
            response.message.blocks = [b for b in blocks if b is first or not isinstance(b, ToolCallBlock)]
        return response

    def _question(self, prompt: str, formatted: bool) -> str:
        return prompt if formatted or self.completion_to_prompt is None else self.completion_to_prompt(prompt)

    def _asked(self, prompt: BasePromptTemplate, prompt_args: Mapping[str, Any]) -> list[ChatMessage]:
        return self._extend_messages(prompt.format_messages(llm=self, **prompt_args))

    def _answer(self, prompt: Prompt, options: Mapping[str, Any]) -> ChatResponse:
        return whole(self.nudger.generate(prompt, **_options(options)))

    async def _aanswer(self, prompt: Prompt, options: Mapping[str, Any]) -> ChatResponse:
        return whole(await self.nudger.agenerate(prompt, **_options(options)))

    def _stream(self, prompt: Prompt, options: Mapping[str, Any]) -> Generator[ChatResponse, None, None]:
        responses = Responses()
        with self.nudger.stream(prompt, **_options(options)) as stream:
            for piece in stream:
                yield responses.of_piece(piece, stream.partial)
            yield responses.last(stream.answer)

    async def _astream(self, prompt: Prompt, options: Mapping[str, Any]) -> AsyncGenerator[ChatResponse, None]:
        responses = Responses()
        async with self.nudger.astream(prompt, **_options(options)) as stream:
            async for piece in stream:
                yield responses.of_piece(piece, stream.partial)
            yield responses.last(stream.answer)


def _options(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What was given with a call, as the engine takes it."""
    return {**kwargs, "tools": described(kwargs["tools"])} if kwargs.get("tools") else dict(kwargs)


def _held_to(output_cls: type[BaseModel], llm_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**(llm_kwargs or {}), "schema": output_cls}


def _object(output_cls: type[BaseModel], response: ChatResponse) -> BaseModel:
    written = response.message.content or ""
    if "finish_reason" in response.additional_kwargs:
        return output_cls.model_validate_json(written)
    return object_so_far(output_cls, written)


def _arguments(call: ToolCallBlock) -> dict[str, Any]:
    arguments = so_far(call.tool_kwargs) if isinstance(call.tool_kwargs, str) else call.tool_kwargs
    return arguments if isinstance(arguments, dict) else {}


def _structured_start(
    output_cls: type[BaseModel], prompt: BasePromptTemplate, prompt_args: dict[str, Any]
) -> LLMStructuredPredictStartEvent:
    return LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args)
