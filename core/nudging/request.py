"""What one call asks for, checked before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import TypedDict

from nudging.errors import GrammarError
from nudging.grammar.grammar import Grammar, Schema, json_schema
from nudging.models.base import Message
from nudging.prompting.conversation import Prompt, Prompts, check_prompt
from nudging.prompting.instructions import with_schema
from nudging.settings import Settings
from nudging.tools.definitions import Tool, ToolChoice, begun_calls_grammar, call_grammar, check_choice, check_tools


class Options(TypedDict, total=False):
    """What a call may be given beside the prompt. None stands for a value that was not given.

    The settings replace those of the `Nudger`. Besides them:

    - `schema`: The answer is JSON that is valid under this JSON schema, or of this pydantic model.
    - `regex`: The answer matches this regular expression, from end to end.
    - `tools`: What the models may call, as OpenAI describes functions.
    - `tool_choice`: "auto" (the default), "none", "required" (or "any"), or the name of the tool that must be called.
    - `parallel_tool_calls`: Whether an answer may have several calls. Left out, it has as many as the models like with
      "auto", and one with "required". Where a tool is named, it is called once.

    A grammar (a schema, a regex, a tool that must be called) says by itself where the answer ends: stop strings do not.
    """

    threshold: float | None
    lookahead: int | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    stop: str | list[str] | tuple[str, ...] | None
    logprobs: bool | None
    schema: Schema | None
    regex: str | None
    tools: Sequence[Tool] | None
    tool_choice: ToolChoice | bool | None
    parallel_tool_calls: bool | None


@dataclass(frozen=True)
class Question:
    """What is asked, and how it shall be answered.

    Args:
        prompt: Both prompts, or the conversation that they are to be rendered from.
        settings: With a seed, if tokens are drawn.
        grammar: What the answer may be, if it is held to something.
        tools: What may be called.
        most_calls: How many of them an answer has at the most; None for any number.
    """

    prompt: Prompts | list[Message]
    settings: Settings
    grammar: Grammar | None = None
    tools: Sequence[dict[str, Any]] = ()
    most_calls: int | None = None

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
    ) -> "Question":
        """A question that can be answered, as far as can be told without a model.

        Raises:
            SettingsError: A setting is unknown or out of its range.
            PromptError: The prompt is empty, or not made of text, or names an unknown role.
            GrammarError: The schema, the regex or a tool cannot be, or they exclude one another.
        """
        settings = settings.updated(overrides).with_seed()
        checked = check_prompt(prompt)
        known = check_tools(tools or ())
        choice = check_choice(tool_choice, known)
        if choice == "none":
            known = []
        _check_one_grammar(schema=schema, regex=regex, tools=known or None)
        if schema is not None:
            if isinstance(checked, list):
                checked = with_schema(checked, json_schema(schema))
            return cls(checked, settings, Grammar.of_schema(schema))
        if regex is not None:
            return cls(checked, settings, Grammar.of_regex(regex))
        if choice in ("auto", "none"):
            grammar = begun_calls_grammar(known)
        else:
            grammar = call_grammar(known, choice, parallel=bool(parallel_tool_calls) and choice == "required")
        return cls(checked, settings, grammar, known, 1 if parallel_tool_calls is False else None)

    @property
    def is_constrained(self) -> bool:
        """Whether the whole answer is held to a grammar."""
        return self.grammar is not None and not self.grammar.lazy


def _check_one_grammar(**given: object) -> None:
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise GrammarError(f"{' and '.join(names)} exclude one another: an answer can be held to one of them only")
