"""`nudging serve`: a nudged pair behind OpenAI's API."""

from nudging.serving.app import create_app
from nudging.serving.keys import ApiKey
from nudging.serving.limits import Limits

__all__ = ["ApiKey", "Limits", "create_app"]
