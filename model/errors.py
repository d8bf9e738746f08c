"""The errors of this library. Each message is one sentence that says what to do."""


class ModelError(Exception):
    """Base of every error that this library raises on purpose; the message is meant for the user."""


class ConfigError(ModelError, ValueError):
    """A setting cannot be used; the message says what is accepted."""


class DatasetError(ModelError):
    """A dataset folder is missing or damaged, or a split of it is empty."""


class ArchitectureError(ModelError):
    """open_clip does not know a model or cannot load it; the message names similar ones."""


class NonFiniteError(ModelError):
    """Features or scores are not finite numbers; the message names the model and the view or text.

    Comparisons with NaN are false, so that a metric would count such an answer as right or leave it out.
    """


class DeviceError(ModelError):
    """The requested device is not available."""


class TrainingError(ModelError):
    """A run cannot continue, for example because its loss is no longer finite."""


class TrainingStoppedError(TrainingError):
    """A run was asked to stop; its checkpoint is written, and the same call resumes from it."""


class ProcessKilledError(TrainingError):
    """A signal ended a child process, for example for lack of memory; the same call resumes from the checkpoint."""


class ChampionError(ModelError):
    """The record of champions, the frozen test set or the deciding metric cannot be used."""
