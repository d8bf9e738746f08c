"""Settings from files and options: what is said about a name that is not a setting."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from flows.commands.settings import build
from patentdata.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class _Image:
    size_px: int = 224
    mode: str = "square"


@dataclass(frozen=True, kw_only=True)
class _Settings:
    batch_size: int = 8
    image: _Image = field(default_factory=_Image)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"batchsize": 4}, "batchsize: there is no such setting; use batch_size"),
        ({"tempo": 4}, "tempo: there is no such setting; use one of batch_size, image"),
        ({"image": {"size": 64}}, "image.size: there is no such setting; use size_px"),
    ],
)
def test_an_unknown_setting_is_named_with_those_like_it(values, sentence):
    with pytest.raises(ConfigError) as caught:
        build(_Settings, values)
    assert str(caught.value) == sentence
