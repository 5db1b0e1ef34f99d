"""A nudged model as a LangChain chat model.

Messages are translated into a conversation, the `Nudger` answers it in pieces, and each piece becomes a message chunk.
The translations are in `messages.py` and `schemas.py`.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, BaseRunManager, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBranch, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.pydantic import is_basemodel_subclass
from langchain_core.utils.utils import LC_ID_PREFIX
from nudging import Answer
from nudging._threads import in_thread
from nudging.tools.definitions import check_choice

from langchain_nudging.errors import langchain_errors
from langchain_nudging.events import Event, EventBuilder
from langchain_nudging.fields import NudgerFields
from langchain_nudging.messages import ChunkBuilder, answer_message, conversation
from langchain_nudging.metadata import combined_llm_outputs, llm_output
from langchain_nudging.schemas import (
    ANY_OBJECT,
    Schema,
    openai_tools,
    schema_tool,
    to_json_schema,
    trace_schema,
)
from langchain_nudging.schemas import tool_choice as choice_of

Method = Literal["function_calling", "json_schema", "json_mode"]


class ChatNudging(NudgerFields, BaseChatModel):
    """A base model that a small aligned model nudges, as a chat model.

        >>> from langchain_nudging import ChatNudging
        >>> chat = ChatNudging(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> chat.invoke("Why is the sky blue?").content

    The fields are the arguments of `nudging.Nudger`. The settings (rule, threshold, bet, end, lookahead, max_tokens,
    temperature, top_p, seed, stop, logprobs) can also be given per call: `chat.invoke(question, threshold=0.3)`. A
    call also takes `schema` or `regex`, which constrain the answer, and `model`, which replaces the base model.

    The author of each chunk ("base" or "nudging") is in `response_metadata["author"]`. A message has all pieces with
    their authors in `response_metadata["pieces"]`, and also `finish_reason`, `nudge_ratio`, `rule`, `nudging_words`,
    the work of each model (`base`, `nudging`) and, if they were requested, the base model's `logprobs`.

    Attributes:
        end (float): The probability of a sure end, in [0, 1]. Default 0.5, unlike in `Nudger`.
        streaming (bool): True reports each token to callbacks in `invoke` too. Default False.
    """

    @property
    def _llm_type(self) -> str:
        return "chat-nudging"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | Mapping[str, Any] | bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools that it may call.

        Args:
            tools: Functions, LangChain tools, pydantic models, or tools in OpenAI's format.
            tool_choice: "auto" (the default), "none", "any" (or "required", or True), or the name of the tool that must
                be called, also as a dictionary of OpenAI or Anthropic. A forced call is always valid under the tool's
                schema.
            strict: Accepted for compatibility and ignored. Forced calls are always strict, optional ones cannot be.
            **kwargs: More options to bind.

        Raises:
            GrammarError: A tool has no schema, or there is no tool with the name `tool_choice`.
        """
        with langchain_errors():
            definitions = openai_tools(tools)
            choice = check_choice(choice_of(tool_choice), definitions)
        return self.bind(tools=definitions, tool_choice=choice, **kwargs)

    def with_structured_output(
        self,
        schema: Schema | None = None,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return this model with answers that are always valid under a schema.

        Args:
            schema: A pydantic model, which makes the output an instance of it, or a TypedDict, a JSON schema or an
                OpenAI function, which make it a dictionary. Optional with `method="json_mode"`: any JSON object.
            include_raw: True returns `{"raw": message, "parsed": ..., "parsing_error": ...}`. Default False.
            method: The way in which the models are asked: for a tool call ("function_calling") or for JSON (the other
                two). Every method constrains the answer to the schema.
            strict: Accepted for compatibility. Output is always strict.
            **kwargs: More options to bind. With `tools=[...]` the answer is a call or JSON. The output of a call is
                None: use `include_raw=True` and read its `tool_calls`.

        Raises:
            ValueError: The method is unknown, or it needs a schema and there is none.
            GrammarError: The schema cannot be expressed as a grammar.
        """
        if method not in ("function_calling", "json_schema", "json_mode"):
            raise ValueError(f"method={method!r} is unknown: choose from function_calling, json_schema, json_mode")
        if schema is None and method != "json_mode":
            raise ValueError(f"method={method!r} needs a schema: give one, or use method='json_mode' for any object")
        with langchain_errors():
            model, parser = self._structured(ANY_OBJECT if schema is None else schema, method, strict, kwargs)
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def _structured(
        self, schema: Schema, method: Method, strict: bool | None, options: dict[str, Any]
    ) -> tuple[Runnable[LanguageModelInput, AIMessage], Runnable[Any, Any]]:
        """Return this model bound to a schema, and the parser of its messages."""
        is_pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
        trace = {"kwargs": {"method": method, "strict": strict}, "schema": trace_schema(schema)}
        parser: Runnable[Any, Any]
        if method == "function_calling":
            tool = schema_tool(schema)
            name, tools = tool["function"]["name"], options.pop("tools", None)
            choice = options.pop("tool_choice", "any" if tools else name)
            model = self.bind_tools(
                [tool, *(tools or ())], tool_choice=choice, ls_structured_output_format=trace, **options
            )
            parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
            if is_pydantic:
                parser |= partial(_instance, cast("Any", schema))
        else:
            document = to_json_schema(schema)
            tools = options.pop("tools", None)
            bound = self.bind_tools(tools, tool_choice=options.pop("tool_choice", None)) if tools else self
            model = bound.bind(schema=document, ls_structured_output_format=trace, **options)
            parser = PydanticOutputParser(pydantic_object=cast("Any", schema)) if is_pydantic else JsonOutputParser()
            if tools:
                parser = RunnableBranch((_has_calls, _no_answer), parser)
        return model, parser

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return the length of the base prompt of these messages and tools: `usage_metadata["input_tokens"]`.

        Messages are counted in any order, as in a part of a conversation. No messages count 0.
        """
        with langchain_errors():
            nudger, options, _ = self._prepared({"tools": list(tools or ())})
            return nudger.count_tokens(conversation(messages), **options)

    def _resolve_model_profile(self) -> Any:
        from langchain_nudging.profile import model_profile  # langchain-core 1.0 has no profiles, and never calls this

        return model_profile(self.config_of("base"), self.config_of("nudging"))

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        return combined_llm_outputs(llm_outputs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            nudger, options, names = self._prepared(kwargs)
            answer = nudger.generate(conversation(messages), stop=stop, **options)
            return _result(answer, nudger.model_names, names)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            nudger, options, names = await in_thread(self._prepared, kwargs)
            answer = await nudger.agenerate(conversation(messages), stop=stop, **options)
            return _result(answer, nudger.model_names, names)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with langchain_errors():
            nudger, options, names = self._prepared(kwargs)
            chunks = ChunkBuilder(names)
            with nudger.stream(conversation(messages), stop=stop, **options) as stream:
                for piece in stream:
                    chunk = ChatGenerationChunk(message=chunks.add_piece(piece, stream.partial))
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
                final = ChatGenerationChunk(message=chunks.finish(stream.answer, nudger.model_names))
                if run_manager:
                    run_manager.on_llm_new_token(final.text, chunk=final)
                yield final

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with langchain_errors():
            nudger, options, names = await in_thread(self._prepared, kwargs)
            chunks = ChunkBuilder(names)
            # in a thread: a grammar is compiled, and llguidance imported for the first one
            opened = await in_thread(partial(nudger.astream, conversation(messages), stop=stop, **options))
            async with opened as stream:
                async for piece in stream:
                    chunk = ChatGenerationChunk(message=chunks.add_piece(piece, stream.partial))
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
                final = ChatGenerationChunk(message=chunks.finish(stream.answer, nudger.model_names))
                if run_manager:
                    await run_manager.on_llm_new_token(final.text, chunk=final)
                yield final

    def _stream_chat_model_events(
        self, messages: list[BaseMessage], run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> Iterator[Event]:
        events = EventBuilder(_message_id(run_manager))
        yield events.start()
        for chunk in self._stream(messages, run_manager=run_manager, **kwargs):
            yield from events.add(cast("AIMessageChunk", chunk.message))

    async def _astream_chat_model_events(
        self, messages: list[BaseMessage], run_manager: AsyncCallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> AsyncIterator[Event]:
        events = EventBuilder(_message_id(run_manager))
        yield events.start()
        async for chunk in self._astream(messages, run_manager=run_manager, **kwargs):
            for event in events.add(cast("AIMessageChunk", chunk.message)):
                yield event


def _result(answer: Answer, model_names: tuple[str, str], names: Mapping[str, str]) -> ChatResult:
    return ChatResult(
        generations=[ChatGeneration(message=answer_message(answer, model_names, names))],
        llm_output=llm_output([answer], model_names),
    )


def _instance(schema: type[Any], arguments: dict[str, Any] | None) -> Any:
    return None if arguments is None else schema(**arguments)


def _has_calls(message: AIMessage) -> bool:
    return bool(message.tool_calls or message.invalid_tool_calls)


def _no_answer(_: AIMessage) -> None:
    return None


def _message_id(run_manager: BaseRunManager | None) -> str | None:
    """Return the id that LangChain gives to the message of a run."""
    return f"{LC_ID_PREFIX}-{run_manager.run_id}" if run_manager else None
