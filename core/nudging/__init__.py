"""Any base language model as an assistant, without training: a small aligned model nudges it where it is unsure.

    >>> from nudging import Nudger
    >>> nudger = Nudger(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
    >>> print(nudger.generate("Why is the sky blue?"))

Source: Fei, Razeghi, Singh, "Nudging: Inference-time Alignment of LLMs via Guided Decoding", arXiv 2410.09300.
"""

from nudging.answer import Answer, Author, FinishReason, ModelUsage, Piece, TokenLogprob, Usage
from nudging.errors import (
    ChatTemplateError,
    ContextLengthError,
    GrammarError,
    MissingDependencyError,
    ModelError,
    ModelNotFoundError,
    NudgingError,
    PromptError,
    ServerError,
    SettingsError,
    UnsupportedModelError,
)
from nudging.models import load_model, unload_models
from nudging.models.base import Model
from nudging.models.scripted import ScriptedModel
from nudging.nudger import Nudger
from nudging.prompting.conversation import Message, Prompts
from nudging.request import Options
from nudging.scorer import Scorer
from nudging.settings import Settings
from nudging.step import Step
from nudging.stream import AnswerStream, AsyncAnswerStream
from nudging.tools.calls import InvalidToolCall, ToolCall

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "Author",
    "ChatTemplateError",
    "ContextLengthError",
    "FinishReason",
    "GrammarError",
    "InvalidToolCall",
    "Message",
    "MissingDependencyError",
    "Model",
    "ModelError",
    "ModelNotFoundError",
    "ModelUsage",
    "Nudger",
    "NudgingError",
    "Options",
    "Piece",
    "PromptError",
    "Prompts",
    "Scorer",
    "ScriptedModel",
    "ServerError",
    "Settings",
    "SettingsError",
    "Step",
    "TokenLogprob",
    "ToolCall",
    "UnsupportedModelError",
    "Usage",
    "load_model",
    "unload_models",
]
