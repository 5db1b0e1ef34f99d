"""All errors that Nudging raises.

    NudgingError
     |-- SettingsError (ValueError)       a setting is out of range, or unknown
     |-- PromptError (ValueError)         a prompt or a conversation cannot be rendered
     |    |-- ContextLengthError          the prompt is longer than a model's context
     |    |-- GrammarError                no answer can follow this schema, regex or tool
     |    `-- ChatTemplateError           the nudging model has no chat template, or it fails on this conversation
     |-- DataError (ValueError)           evaluation data is missing or malformed
     |-- OutputError (OSError)            results cannot be written
     `-- ModelError
          |-- ModelNotFoundError (OSError)     there is no such model or folder
          |-- UnsupportedModelError            a model or a server lacks a feature that nudging needs
          |-- ServerError                      a server does not answer, or refuses a request
          `-- MissingDependencyError (ImportError)   a package of an extra is not installed

Each message says what is wrong, names the value, and says what to do.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nudging.answer import Answer


class NudgingError(Exception):
    """Base of all errors of this package."""


class SettingsError(NudgingError, ValueError):
    """A setting is out of range, or unknown."""


class PromptError(NudgingError, ValueError):
    """A prompt or a conversation cannot be rendered."""


class ContextLengthError(PromptError):
    """A prompt is longer than a model's context."""


class ChatTemplateError(PromptError):
    """The nudging model has no chat template, or the template fails on this conversation."""


class GrammarError(PromptError):
    """No answer can follow this schema, regex or tool."""


class DataError(NudgingError, ValueError):
    """Evaluation data is missing or malformed."""


class OutputError(NudgingError, OSError):
    """Results cannot be written."""


class ModelError(NudgingError):
    """A model cannot be used."""


class ModelNotFoundError(ModelError, OSError):
    """There is no such model or folder."""


class UnsupportedModelError(ModelError):
    """A model or a server lacks a feature that nudging needs."""


class MissingDependencyError(ModelError, ImportError):
    """A package of an extra is not installed."""


class ServerError(ModelError):
    """A server does not answer, or refuses a request.

    Attributes:
        answer: The answer so far, if the error came in the middle of an answer.
        status: The HTTP status of the refusal, if there is one.
    """

    answer: "Answer | None" = None
    status: int | None = None
