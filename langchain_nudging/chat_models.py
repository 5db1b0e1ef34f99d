"""A nudged model as a LangChain chat model.

LangChain messages -> conversation -> `Nudger` -> pieces -> message chunks. The two translations are in `messages`,
those of tools and schemas in `schemas`.
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

from langchain_nudging.identity import Identified
from langchain_nudging.messages import Chunks, answer_message, conversation
from langchain_nudging.metadata import token_usage
from langchain_nudging.schemas import Schema, as_json_schema, as_tools, response_schema, schema_tool, traced_schema

Method = Literal["function_calling", "json_schema", "json_mode"]


class ChatNudging(Identified, BaseChatModel):
    """Chat with a base model that a small aligned model nudges.

        >>> from langchain_nudging import ChatNudging
        >>> chat = ChatNudging(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> chat.invoke("Why is the sky blue?").content  # doctest: +SKIP

    Fields are the arguments of `nudging.Nudger`. The settings among them (threshold, lookahead, max_tokens,
    temperature, top_p, seed, stop, logprobs) may be given per call too: `chat.invoke(question, threshold=0.3)`; and so
    may `schema` and `regex`, which the answer is then held to, and `model`, another base model.

    Every chunk names its author ("base" or "nudging") in `response_metadata["author"]`. The message has all pieces with
    their authors in `response_metadata["pieces"]`, beside `finish_reason`, `nudge_ratio`, `nudging_words`, what each
    model did (`base`, `nudging`) and, if they were asked for, the base model's `logprobs`.
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
        """Let this model call tools.

        Args:
            tools: Functions, LangChain tools, pydantic models, or descriptions of functions as OpenAI has them.
            tool_choice: "auto" (the default), "none", "any" (or "required", or True), or the name of the tool that must
                be called. A call that must be made is always valid under the tool's schema.
            strict: For others' sake: a call that must be made is strict anyway, one that need not be cannot be.
            **kwargs: Bound too.

        Raises:
            GrammarError: A tool has no schema, or `tool_choice` names one that there is not.
        """
        described = as_tools(tools)
        return self.bind(tools=described, tool_choice=check_choice(tool_choice, described), **kwargs)

    def with_structured_output(
        self,
        schema: Schema | None = None,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Hold the answers of this model to a schema: they are valid under it, always.

        Args:
            schema: A pydantic model, whose instances are returned; or a TypedDict, a JSON schema or an OpenAI function,
                for which dictionaries are. May be left out with `method="json_mode"`, for any JSON object.
            include_raw: Return `{"raw": message, "parsed": ..., "parsing_error": ...}`.
            method: How the models are told: as the call of a tool ("function_calling"), or as JSON to answer with. The
                answer is held to the schema with every one.
            strict: For others' sake: it is strict anyway.
            **kwargs: Bound too.

        Raises:
            ValueError: There is no such method, or no schema where one is needed.
            GrammarError: The schema cannot be expressed as a grammar.
        """
        if method not in ("function_calling", "json_schema", "json_mode"):
            raise ValueError(f"method={method!r}: choose from function_calling, json_schema, json_mode")
        if schema is None and method != "json_mode":
            raise ValueError(f"method={method!r} needs a schema: give one, or take method='json_mode' for any object")
        instances = isinstance(schema, type) and is_basemodel_subclass(schema)
        schema = {"type": "object"} if schema is None else schema
        traced = {"kwargs": {"method": method, "strict": strict}, "schema": traced_schema(schema)}
        parser: Runnable[Any, Any]
        if method == "function_calling":
            tool = schema_tool(schema)
            name = tool["function"]["name"]
            model = self.bind_tools([tool], tool_choice=name, ls_structured_output_format=traced, **kwargs)
            if instances:
                parser = PydanticToolsParser(tools=[cast("Any", schema)], first_tool_only=True)
            else:
                parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
        else:
            model = self.bind(schema=as_json_schema(schema), ls_structured_output_format=traced, **kwargs)
            parser = PydanticOutputParser(pydantic_object=cast("Any", schema)) if instances else JsonOutputParser()
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def get_token_ids(self, text: str) -> list[int]:
        """The base model's tokens of a text, without special ones."""
        return self.nudger.base_model.tokenizer.encode(text, special_tokens=False)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Length of the base prompt that these messages and tools make: what `usage_metadata` has as `input_tokens`."""
        return self.nudger.count_tokens(conversation(messages), tools=as_tools(tools or ()))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        options = _options(kwargs)
        nudger = self._nudger_for(options)
        answer = nudger.generate(conversation(messages), stop=stop, **options)
        return _result(answer, nudger.model_names)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        options = _options(kwargs)
        nudger = self._nudger_for(options)
        answer = await nudger.agenerate(conversation(messages), stop=stop, **options)
        return _result(answer, nudger.model_names)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        options = _options(kwargs)
        nudger, chunks = self._nudger_for(options), Chunks()
        with nudger.stream(conversation(messages), stop=stop, **options) as stream:
            for piece in stream:
                chunk = ChatGenerationChunk(message=chunks.of_piece(piece, stream.partial))
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            last = ChatGenerationChunk(message=chunks.last(stream.answer, nudger.model_names))
            if run_manager:
                run_manager.on_llm_new_token(last.text, chunk=last)
            yield last

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        options = _options(kwargs)
        nudger, chunks = self._nudger_for(options), Chunks()
        async with nudger.astream(conversation(messages), stop=stop, **options) as stream:
            async for piece in stream:
                chunk = ChatGenerationChunk(message=chunks.of_piece(piece, stream.partial))
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            last = ChatGenerationChunk(message=chunks.last(stream.answer, nudger.model_names))
            if run_manager:
                await run_manager.on_llm_new_token(last.text, chunk=last)
            yield last


def _options(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What was bound or given with a call, under the engine's names."""
    options = dict(kwargs)
    if response_format := options.pop("response_format", None):
        options["schema"] = response_schema(response_format)
        options.pop("strict", None)
    if (schema := options.get("schema")) is not None:
        options["schema"] = as_json_schema(schema)
    if tools := options.get("tools"):
        options["tools"] = as_tools(tools)
    return options


def _result(answer: Answer, model_names: tuple[str, str]) -> ChatResult:
    return ChatResult(
        generations=[ChatGeneration(message=answer_message(answer, model_names))],
        llm_output={"token_usage": token_usage([answer]), "model_name": " + ".join(model_names)},
    )
