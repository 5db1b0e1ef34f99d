"""Everything that Nudging raises on purpose.

    NudgingError
     |-- SettingsError (ValueError)       a setting out of its range, or an unknown one
     |-- PromptError (ValueError)         a prompt or a conversation that cannot be rendered
     |    |-- ContextLengthError          it is longer than a model's context
     |    |-- GrammarError                a schema, a regex or a tool that no answer can be held to
     |    `-- ChatTemplateError           the nudging model has no chat template, or it fails on this conversation
     |-- DataError (ValueError)           questions to evaluate on that are missing, or lack what is needed
     |-- OutputError (OSError)            results that cannot be written
     `-- ModelError
          |-- ModelNotFoundError (OSError)     no such model or folder
          |-- UnsupportedModelError            a model or a server that lacks what nudging needs
          |-- ServerError                      a server that does not answer, or refuses
          `-- MissingDependencyError (ImportError)   an extra that is not installed

Each message says what was wrong, with which value, and what to do.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nudging.answer import Answer


class NudgingError(Exception):
    """Base of all errors of this package."""


class SettingsError(NudgingError, ValueError):
    """A setting is out of its range, or unknown."""


class PromptError(NudgingError, ValueError):
    """A prompt or a conversation cannot be rendered."""


class ContextLengthError(PromptError):
    """A prompt is longer than a model's context."""


class ChatTemplateError(PromptError):
    """The nudging model has no chat template, or the template fails on this conversation."""


class GrammarError(PromptError):
    """A schema, a regex or a tool that no answer can be held to."""


class DataError(NudgingError, ValueError):
    """Questions to evaluate on are missing, or lack what is needed."""


class OutputError(NudgingError, OSError):
    """Results cannot be written."""


class ModelError(NudgingError):
    """A model cannot be used."""


class ModelNotFoundError(ModelError, OSError):
    """There is no such model or folder."""


class UnsupportedModelError(ModelError):
    """The model cannot do what nudging needs of it."""


class MissingDependencyError(ModelError, ImportError):
    """A package of an extra is not installed."""


class ServerError(ModelError):
    """A server does not answer, or refuses.

    `answer` is what was answered until then, when it happened in the middle of an answer; `status` is the HTTP status
    that it refused with, if it did.
    """

    answer: "Answer | None" = None
    status: int | None = None
