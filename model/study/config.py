"""What a study compares: arms, claims about them, and where both are written down.

A study is a TOML file. `beta`, `captions` and `views` are files of this package, and a user's own file has the same
form:

    question = "Do generated captions beat titles?"

    [training]                       # settings of all arms; see `model.training.config.TrainConfig`
    num_steps = 2000

    [arms.title]                     # settings in which an arm differs from the others
    caption = "title"

    [arms.generated]
    caption = "shape_or_function"

    [[claims]]
    text = "generated captions beat titles, asked by the viewpoint and what is seen"
    measure = "text_to_image"        # see `model.study.outcomes.MEASURES`
    arm = "generated"
    baseline = "title"

An arm may also have `readout_tau`, `evaluation_caption` and `lines`, which concern only how it is measured, and
`series` and `x`, which put it on a curve.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.errors import ConfigError
from model.evaluation.config import EvaluationConfig
from model.settings import Config, require
from model.study.outcomes import MEASURES, PARTS
from model.training.config import TrainConfig

_BUILTIN = Path(__file__).parent / "builtin"
BUILTIN_STUDIES = tuple(sorted(path.stem for path in _BUILTIN.glob("*.toml")))

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OF_ARM = ("series", "x", "readout_tau", "evaluation_caption", "lines")
_OF_STUDY = ("question", "seeds", "training", "arms", "claims", "num_resamples", "split")


@dataclass(frozen=True)
class Arm:
    """Settings that are compared with those of other arms.

    Attributes:
        name: Its name.
        settings: Settings of training in which it differs from the other arms.
        readout_tau: Class prior under which its classification head is read out.
        evaluation_caption: Column of the texts that views are searched by.
        lines: Which lines of the drawings are compared, "all" or "claimed".
        series: Name of the curve that it is on; empty for none.
        x: Its position on that curve.
    """

    name: str
    settings: Mapping[str, Any]
    readout_tau: float = 0.0
    evaluation_caption: str = "text"
    lines: str = "all"
    series: str = ""
    x: float | None = None


@dataclass(frozen=True)
class Claim(Config):
    """A statement about two arms that one number decides.

    Attributes:
        text: The claim in words.
        measure: One of `MEASURES`.
        part: One of `PARTS`: all views, or those of a third of the classes.
        arm: The arm that the claim is about.
        baseline: The arm that it is compared with.
        at_least: What the difference must exceed, as a share; negative for "does not cost more than".
    """

    text: str
    measure: str
    arm: str
    baseline: str
    part: str = "all"
    at_least: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study.

    Attributes:
        name: Its name, which is that of its file.
        question: What it asks, in words.
        arms: The arms, in their order.
        claims: The claims, in their order.
        training: Settings of training that all arms share.
        seeds: Seeds with which each arm is trained.
        split: The split that is measured.
        num_resamples: Number of bootstrap resamples.

    Raises:
        ConfigError: A name or a setting cannot be used; the message says which.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    split: str = "test"
    num_resamples: int = 2000

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        require(len(names) >= 2, f"study {self.name} has {len(names)} arms; a comparison needs two or more")
        for name in (self.name, *names):
            require(bool(_NAME.fullmatch(name)), f"{name!r} cannot be a folder; use letters, digits, dots and dashes")
        require(
            bool(self.seeds) and len(set(self.seeds)) == len(self.seeds) and min(self.seeds) >= 0,
            f"seeds is {self.seeds}; name each seed once, such as (0, 1, 2)",
        )
        require(self.num_resamples >= 20, f"num_resamples is {self.num_resamples}; use at least 20")
        for claim in self.claims:
            self._check_claim(claim, names)
        for arm in self.arms:
            self.training_of(arm, self.seeds[0])
            self.evaluation_of(arm)

    def _check_claim(self, claim: Claim, names: list[str]) -> None:
        for what, value, known in (
            ("measure", claim.measure, tuple(MEASURES)),
            ("part", claim.part, PARTS),
            ("arm", claim.arm, tuple(names)),
            ("baseline", claim.baseline, tuple(names)),
        ):
            require(value in known, f"claim {claim.text!r}: {what} is {value!r}; use one of {', '.join(known)}")
        require(claim.arm != claim.baseline, f"claim {claim.text!r} compares the arm {claim.arm} with itself")

    def training_of(self, arm: Arm, seed: int) -> TrainConfig:
        """Settings of the run of an arm with a seed."""
        try:
            return TrainConfig.from_dict({**self.training, **arm.settings, "seed": seed})
        except ConfigError as error:
            raise ConfigError(f"arm {arm.name}: {error}") from error

    def evaluation_of(self, arm: Arm) -> EvaluationConfig:
        """Settings with which an arm is measured."""
        try:
            return EvaluationConfig(
                split=self.split,
                caption=arm.evaluation_caption,
                readout_tau=arm.readout_tau,
                lines=arm.lines,
                device=str(self.training.get("device", "auto")),
            )
        except ConfigError as error:
            raise ConfigError(f"arm {arm.name}: {error}") from error

    @classmethod
    def from_dict(cls, name: str, values: Mapping[str, Any]) -> StudyConfig:
        """A study from the values of its file."""
        _refuse_unknown(f"study {name}", values, _OF_STUDY)
        arms = []
        for arm_name, given in dict(values.get("arms", {})).items():
            require(
                isinstance(given, Mapping), f"study {name}: arms.{arm_name} is not a table; write [arms.{arm_name}]"
            )
            own = {key: value for key, value in given.items() if key in _OF_ARM}
            arms.append(Arm(arm_name, {key: value for key, value in given.items() if key not in own}, **_checked(own)))
        claims = []
        for given in values.get("claims", []):
            missing = [key for key in ("text", "measure", "arm", "baseline") if key not in given]
            require(not missing, f"study {name}: a claim without {', '.join(missing)}")
            claims.append(Claim.from_dict(given))
        seeds = values.get("seeds", 3)
        return cls(
            name=name,
            question=str(values.get("question", "")),
            arms=tuple(arms),
            claims=tuple(claims),
            training=dict(values.get("training", {})),
            seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
            **{key: values[key] for key in ("num_resamples", "split") if key in values},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the settings of every arm in full, and the claims."""
        return {
            "name": self.name,
            "question": self.question,
            "seeds": list(self.seeds),
            "split": self.split,
            "num_resamples": self.num_resamples,
            "arms": {
                arm.name: {
                    "differs_in": dict(arm.settings),
                    **{key: getattr(arm, key) for key in _OF_ARM},
                    "training": self.training_of(arm, self.seeds[0]).result_settings,
                }
                for arm in self.arms
            },
            "claims": [claim.to_dict() for claim in self.claims],
        }


def read_study(
    name_or_file: str,
    training: Mapping[str, Any] | None = None,
    *,
    small_training: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> StudyConfig:
    """A study of this package by its name, or that of a file.

    Args:
        name_or_file: One of `BUILTIN_STUDIES`, or the path of a TOML file.
        training: Settings of training for all arms; they override those of the file, and an arm's own override them.
        small_training: Settings of a small model, which are used unless the file names an architecture.
        overrides: Other values of the study, such as `seeds`; those that are None are left out.

    Raises:
        ConfigError: There is no such study, or it cannot be used.
    """
    path = _BUILTIN / f"{name_or_file}.toml" if name_or_file in BUILTIN_STUDIES else Path(name_or_file)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"no study {name_or_file}; name {', '.join(BUILTIN_STUDIES)}, or a TOML file with arms and claims"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file of a study ({error})") from error
    own = dict(values.get("training", {}))
    small = {} if "architecture" in own else dict(small_training or {})
    values["training"] = {**small, **own, **(training or {})}
    values |= {key: value for key, value in overrides.items() if value is not None}
    return StudyConfig.from_dict(path.stem, values)


def _refuse_unknown(what: str, values: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(values) - set(known))
    require(not unknown, f"{what}: unknown {', '.join(unknown)}; it can have {', '.join(known)}")


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """The values of an arm that are not settings of training, checked for their types."""
    for key in ("readout_tau", "x"):
        require(isinstance(values.get(key, 0.0), int | float), f"{key} is {values.get(key)!r}; use a number")
    for key in ("series", "evaluation_caption", "lines"):
        require(isinstance(values.get(key, ""), str), f"{key} is {values.get(key)!r}; use a string")
    return values
