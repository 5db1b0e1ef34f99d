"""A nudged model as a LangChain chat model.

Messages are translated into a conversation, the `Nudger` answers it in pieces, and each piece becomes a message chunk.
The translations are in `messages.py` and `schemas.py`.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.pydantic import is_basemodel_subclass
from nudging import Answer
from nudging.tools.definitions import check_choice

from langchain_nudging.fields import NudgerFields
from langchain_nudging.messages import ChunkBuilder, answer_message, conversation
from langchain_nudging.metadata import llm_output
from langchain_nudging.schemas import Schema, engine_options, openai_tools, schema_tool, to_json_schema, trace_schema

Method = Literal["function_calling", "json_schema", "json_mode"]


class ChatNudging(NudgerFields, BaseChatModel):
    """A base model that a small aligned model nudges, as a chat model.

        >>> from langchain_nudging import ChatNudging
        >>> chat = ChatNudging(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> chat.invoke("Why is the sky blue?").content  # doctest: +SKIP

    The fields are the arguments of `nudging.Nudger`. The settings (threshold, lookahead, max_tokens, temperature,
    top_p, seed, stop, logprobs) can also be given per call: `chat.invoke(question, threshold=0.3)`. A call also takes
    `schema` or `regex`, which constrain the answer, and `model`, which replaces the base model.

    The author of each chunk ("base" or "nudging") is in `response_metadata["author"]`. A message has all pieces with
    their authors in `response_metadata["pieces"]`, and also `finish_reason`, `nudge_ratio`, `nudging_words`, the work
    of each model (`base`, `nudging`) and, if they were requested, the base model's `logprobs`.
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
                be called. A forced call is always valid under the tool's schema.
            strict: Accepted for compatibility and ignored. Forced calls are always strict, optional ones cannot be.
            **kwargs: More options to bind.

        Raises:
            GrammarError: A tool has no schema, or there is no tool with the name `tool_choice`.
        """
        definitions = openai_tools(tools)
        return self.bind(tools=definitions, tool_choice=check_choice(tool_choice, definitions), **kwargs)

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
            **kwargs: More options to bind.

        Raises:
            ValueError: The method is unknown, or it needs a schema and there is none.
            GrammarError: The schema cannot be expressed as a grammar.
        """
        if method not in ("function_calling", "json_schema", "json_mode"):
            raise ValueError(f"method={method!r} is unknown: choose from function_calling, json_schema, json_mode")
        if schema is None and method != "json_mode":
            raise ValueError(f"method={method!r} needs a schema: give one, or use method='json_mode' for any object")
        is_pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
        schema = {"type": "object"} if schema is None else schema
        trace = {"kwargs": {"method": method, "strict": strict}, "schema": trace_schema(schema)}
        parser: Runnable[Any, Any]
        if method == "function_calling":
            tool = schema_tool(schema)
            name = tool["function"]["name"]
            model = self.bind_tools([tool], tool_choice=name, ls_structured_output_format=trace, **kwargs)
            if is_pydantic:
                parser = PydanticToolsParser(tools=[cast("Any", schema)], first_tool_only=True)
            else:
                parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
        else:
            model = self.bind(schema=to_json_schema(schema), ls_structured_output_format=trace, **kwargs)
            parser = PydanticOutputParser(pydantic_object=cast("Any", schema)) if is_pydantic else JsonOutputParser()
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return the length of the base prompt of these messages and tools: `usage_metadata["input_tokens"]`."""
        return self.nudger.count_tokens(conversation(messages), tools=openai_tools(tools or ()))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        nudger, options = self._nudger_and_options(engine_options(kwargs))
        answer = nudger.generate(conversation(messages), stop=stop, **options)
        return _result(answer, nudger.model_names)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        nudger, options = self._nudger_and_options(engine_options(kwargs))
        answer = await nudger.agenerate(conversation(messages), stop=stop, **options)
        return _result(answer, nudger.model_names)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        nudger, options = self._nudger_and_options(engine_options(kwargs))
        chunks = ChunkBuilder()
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
        nudger, options = self._nudger_and_options(engine_options(kwargs))
        chunks = ChunkBuilder()
        async with nudger.astream(conversation(messages), stop=stop, **options) as stream:
            async for piece in stream:
                chunk = ChatGenerationChunk(message=chunks.add_piece(piece, stream.partial))
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            final = ChatGenerationChunk(message=chunks.finish(stream.answer, nudger.model_names))
            if run_manager:
                await run_manager.on_llm_new_token(final.text, chunk=final)
            yield final


def _result(answer: Answer, model_names: tuple[str, str]) -> ChatResult:
    return ChatResult(
        generations=[ChatGeneration(message=answer_message(answer, model_names))],
        llm_output=llm_output([answer], model_names),
    )
