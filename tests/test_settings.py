"""The settings of an answer: one list of names, and strict values."""

from typing import get_type_hints

import pytest
from nudging import SettingsError
from nudging.config import NudgerConfig
from nudging.request import Options
from nudging.settings import SEEDS, Settings, SettingsOptions


def test_the_options_of_a_call_have_the_names_of_the_settings() -> None:
    assert set(get_type_hints(SettingsOptions)) == set(Settings.model_fields)
    assert set(Settings.model_fields) <= set(get_type_hints(Options))
    assert set(Settings.model_fields) <= set(NudgerConfig.model_fields)


@pytest.mark.parametrize(
    ("stop", "stored"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b")), (("a",), ("a",)), ([], ())]
)
def test_stop_strings_are_stored_as_a_tuple(stop: object, stored: tuple[str, ...]) -> None:
    assert Settings.checked({"stop": stop}).stop == stored


def test_updated_replaces_the_given_values_and_ignores_none() -> None:
    settings = Settings(threshold=0.2)
    assert settings.updated({"max_tokens": 7, "threshold": None}) == Settings(threshold=0.2, max_tokens=7)
    assert settings.updated({"max_tokens": None}) is settings


def test_a_random_seed_is_drawn_only_for_sampling_without_a_seed() -> None:
    assert Settings().with_seed().seed is None
    assert Settings(temperature=0.5, seed=3).with_seed().seed == 3
    seeds = {Settings(temperature=0.5).with_seed().seed for _ in range(3)}
    assert len(seeds) == 3
    assert all(seed is not None and 0 <= seed < SEEDS for seed in seeds)


@pytest.mark.parametrize("value", ["0.5", True, None])
def test_values_of_another_type_are_refused(value: object) -> None:
    with pytest.raises(SettingsError, match=f"threshold={value!r}"):
        Settings.checked({"threshold": value})


def test_the_error_names_every_wrong_value_and_what_it_means() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.checked({"threshold": 1.4, "max_tokens": 0})
    message = str(raised.value)
    assert "threshold=1.4" in message
    assert "top-1 probability" in message
    assert "max_tokens=0" in message


def test_the_error_for_an_unknown_setting_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="no setting 'gamma'") as raised:
        Settings.checked({"gamma": 0.4})
    assert all(name in str(raised.value) for name in Settings.model_fields)
