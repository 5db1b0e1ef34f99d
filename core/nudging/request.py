"""One call of a `Nudger`, checked before anything is computed: prompt, settings, grammar, tools."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nudging.errors import GrammarError
from nudging.grammar.grammar import Grammar, Schema, json_schema
from nudging.prompting.conversation import Message, Prompt, Prompts, check_prompt
from nudging.prompting.instructions import with_schema
from nudging.settings import Settings, SettingsOptions
from nudging.tools.definitions import (
    Tool,
    ToolChoice,
    allowed_tools,
    call_grammar,
    call_or_schema_grammar,
    check_choice,
    check_tools,
    names,
    optional_calls_grammar,
)
from nudging.tools.parsing import OPENING_TAG
from nudging.tools.streaming import PartialAnswer, parse_partial_calls, visible_content


class Options(SettingsOptions, total=False):
    """Options of one call. None means "not given".

    The settings replace those of the `Nudger` for this call. The other options are:

    - `schema`: The answer is JSON that is valid under this JSON schema, or that this pydantic model accepts.
    - `regex`: The whole answer matches this regular expression.
    - `tools`: The tools that may be called, as functions in OpenAI's shape. With a schema, the answer is either calls
      or JSON of the schema.
    - `tool_choice`: "auto" (the default), "none", "required" (or "any"), or the name of a tool that must be called.
    - `parallel_tool_calls`: True allows several calls in one answer, False at most one. By default "auto" allows
      several and "required" one. A named tool is called once.

    A grammar (a schema, a regex, a tool that must be called) determines where the answer ends, so stop strings are
    ignored under one.
    """

    schema: Schema | None
    regex: str | None
    tools: Sequence[Tool] | None
    tool_choice: ToolChoice | bool | None
    parallel_tool_calls: bool | None


@dataclass(frozen=True)
class Request:
    """A checked call.

    Args:
        prompt: Both prompts, or the conversation from which they are rendered.
        settings: The settings, with a seed if tokens are sampled.
        grammar: The grammar of the answer, if it has one.
        tools: The tools that may be called.
        max_calls: The maximum number of calls in the answer, or None for any number.
        calls_or_json: True if the answer is either calls or JSON of a schema.
    """

    prompt: Prompts | list[Message]
    settings: Settings
    grammar: Grammar | None = None
    tools: Sequence[dict[str, Any]] = ()
    max_calls: int | None = None
    calls_or_json: bool = False

    @classmethod
    def checked(
        cls,
        prompt: Prompt,
        settings: Settings,
        *,
        schema: Schema | None = None,
        regex: str | None = None,
        tools: Sequence[Tool] | None = None,
        tool_choice: ToolChoice | bool | None = None,
        parallel_tool_calls: bool | None = None,
        **overrides: Any,
    ) -> "Request":
        """Return a request that can be answered, as far as this is known without a model.

        Raises:
            SettingsError: A setting is unknown or out of range.
            PromptError: The prompt is empty, is not text, or names an unknown role.
            GrammarError: The schema, the regex or a tool cannot be followed, or they exclude each other.
        """
        settings = settings.updated(overrides).with_seed()
        conversation = check_prompt(prompt)
        tool_choice, checked_tools = allowed_tools(tool_choice, check_tools(tools or ()))
        choice = check_choice(tool_choice, checked_tools)
        if choice == "none":
            checked_tools = []
        _check_one_grammar(schema=schema, regex=regex)
        _check_one_grammar(regex=regex, tools=checked_tools or None)
        max_calls = 1 if parallel_tool_calls is False else None
        if checked_tools and choice != "auto":
            grammar = call_grammar(checked_tools, choice, parallel=bool(parallel_tool_calls) and choice == "required")
            return cls(conversation, settings, grammar, checked_tools, max_calls)
        if schema is not None and isinstance(conversation, list):
            conversation = with_schema(conversation, json_schema(schema), or_tools=bool(checked_tools))
        if schema is not None and checked_tools:
            grammar = call_or_schema_grammar(checked_tools, schema, parallel=max_calls is None)
            return cls(conversation, settings, grammar, checked_tools, max_calls, calls_or_json=True)
        if schema is not None:
            return cls(conversation, settings, Grammar.of_schema(schema))
        if regex is not None:
            return cls(conversation, settings, Grammar.of_regex(regex))
        return cls(conversation, settings, optional_calls_grammar(checked_tools), checked_tools, max_calls)

    @property
    def is_constrained(self) -> bool:
        """True if a grammar constrains the whole answer."""
        return self.grammar is not None and not self.grammar.lazy

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools."""
        return names(self.tools)

    def partial_answer(self, text: str) -> PartialAnswer:
        """Return the part of an unfinished answer that a client may see."""
        if not self.tools:
            return PartialAnswer(text)
        if self.calls_or_json and not text.startswith(OPENING_TAG[: len(text)]):
            return PartialAnswer(text)
        if self.is_constrained:
            return PartialAnswer("", tuple(parse_partial_calls(text)))
        return PartialAnswer(visible_content(text, self.tool_names))


def _check_one_grammar(**given: object) -> None:
    options = [name for name, value in given.items() if value is not None]
    if len(options) > 1:
        raise GrammarError(f"{' and '.join(options)} exclude each other: an answer can follow only one of them")
