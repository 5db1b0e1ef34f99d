"""`GET /v1/models`: the pair as a model."""

import time
from pathlib import Path
from typing import Any, Literal

from openai.types import Model
from pydantic import BaseModel

from nudging.nudger import Nudger


class Pair(BaseModel):
    """The two models of a pair, and the settings of answers whose request says nothing else."""

    base_model: str
    nudging_model: str
    settings: dict[str, Any]


class ModelCard(Model):
    """A model: OpenAI's, with the pair that it is."""

    nudging: Pair


class ModelList(BaseModel):
    """The reply to `GET /v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


def card_of(nudger: Nudger, name: str) -> ModelCard:
    """Return the model of a server.

    Args:
        nudger: The nudger.
        name: Its name for clients.
    """
    base, nudging = (Path(model).name.removesuffix(".gguf") for model in nudger.model_names)  # no paths of the server
    settings = nudger.settings.model_dump(exclude={"seed", "stop", "logprobs"})
    pair = Pair(base_model=base, nudging_model=nudging, settings=settings)
    return ModelCard(id=name, object="model", created=int(time.time()), owned_by="nudging", nudging=pair)
