"""API keys: their names, their limits, and the file that lists them."""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, model_validator
from typing_extensions import Self

from nudging.errors import SettingsError
from nudging.serving.rate_limits import Client

EXAMPLE = '{"alice": {"key": "sk-…"}, "batch": {"key": "sk-…", "at_once": 4, "requests_per_minute": 60}}'

DEFAULT_NAME = "default"
"""Name of the one key that has none, of `--api-key`."""

Maximum = Annotated[int, Field(ge=1)]


class ApiKey(BaseModel):
    """An API key and the limits of the client that sends it. A limit of None is none.

    Args:
        key: The key. Either `key` or `sha256` is given.
        sha256: The SHA-256 of the key in hexadecimal, so that the key itself need not be stored.
        at_once: Maximum number of this client's requests at the same time.
        requests_per_minute: Maximum number of this client's requests per minute.
        tokens_per_minute: Maximum number of tokens per minute in this client's prompts and answers together, in
            base-model tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    key: SecretStr | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(default=None, repr=False)
    at_once: Maximum | None = None
    requests_per_minute: Maximum | None = None
    tokens_per_minute: Maximum | None = None

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if (self.key is None) == (self.sha256 is None):
            raise ValueError("give either key or sha256")
        secret = self.key.get_secret_value() if self.key else "x"
        if not secret or not secret.isascii() or not secret.isprintable() or secret != secret.strip():
            raise ValueError("the key must be ASCII characters without spaces around them: clients send it in a header")
        return self

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the key."""
        return bytes.fromhex(self.sha256) if self.sha256 else _digest(self.key.get_secret_value() if self.key else "")


class KeyRing:
    """The keys that a server accepts, each with its client.

    Args:
        keys: The keys, by name.

    Raises:
        SettingsError: Two names have the same key.
    """

    def __init__(self, keys: Mapping[str, ApiKey]) -> None:
        names: dict[bytes, str] = {}
        for name, key in keys.items():
            if other := names.get(key.digest):
                raise SettingsError(f"the API keys {other!r} and {name!r} are the same: give each its own")
            names[key.digest] = name
        self._clients = [
            (
                key.digest,
                Client(name, key.at_once, {"requests": key.requests_per_minute, "tokens": key.tokens_per_minute}),
            )
            for name, key in keys.items()
        ]

    def __bool__(self) -> bool:
        return bool(self._clients)

    def client(self, key: str) -> Client | None:
        """Return the client with this key, or None. The time does not depend on which key matches."""
        digest, found = _digest(key), None
        for known, client in self._clients:
            if hmac.compare_digest(known, digest):
                found = client
        return found


def all_keys(api_key: str | None, api_keys: Mapping[str, ApiKey]) -> dict[str, ApiKey]:
    """Return several keys and one without a name together.

    Raises:
        SettingsError: A key is not valid, or its name is taken.
    """
    if not api_key:
        return dict(api_keys)
    if DEFAULT_NAME in api_keys:
        raise SettingsError(f"the name {DEFAULT_NAME!r} is for the API key without a name: rename the key in the file")
    try:
        return {DEFAULT_NAME: ApiKey(key=SecretStr(api_key)), **api_keys}
    except ValidationError as error:
        raise SettingsError(f"the API key is not valid: {_sentences(error)}") from None


def read_keys(path: str | Path) -> dict[str, ApiKey]:
    """Return the keys in a JSON file, by name. A message about the file never contains a key.

    Raises:
        SettingsError: The file cannot be read, or is not valid.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"cannot read the key file {str(path)!r}: {reason}; write {EXAMPLE}") from None
    except ValueError:  # not UTF-8, or a path with a null character
        raise SettingsError(f"the key file {str(path)!r} is not text in UTF-8: write {EXAMPLE}") from None
    try:
        keys = _FILE.validate_json(text)
    except ValidationError as error:
        raise SettingsError(f"the key file {str(path)!r} is not valid: {_sentences(error)}; write {EXAMPLE}") from None
    if not keys:
        raise SettingsError(f"the key file {str(path)!r} has no key: write {EXAMPLE}")
    return keys


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def _sentences(error: ValidationError) -> str:
    def sentence(problem: Any) -> str:
        field = ".".join(map(str, problem["loc"]))
        return f"{field}: {problem['msg'].removeprefix('Value error, ')}".removeprefix(": ")

    return "; ".join(map(sentence, error.errors(include_input=False, include_context=False)))


KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
"""A name of a key. It is in the access log."""

_FILE = TypeAdapter(dict[KeyName, ApiKey])
