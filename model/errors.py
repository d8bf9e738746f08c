"""What can go wrong in training and evaluation, each in one sentence that says what to do."""


class ModelError(Exception):
    """Base of every error that `model` raises on purpose; its text is meant for the user."""


class ConfigError(ModelError, ValueError):
    """A setting that cannot be used; the message says what would be accepted."""


class DatasetError(ModelError):
    """A dataset folder that is missing, damaged, or holds no view where some are needed."""


class ArchitectureError(ModelError):
    """A model that open_clip does not know or cannot load; the message names near matches."""


class DeviceError(ModelError):
    """A device that was asked for and is not there."""


class TrainingError(ModelError):
    """A run that cannot go on, such as one whose loss is no longer a number."""


class TrainingStoppedError(TrainingError):
    """A run that was asked to stop; its checkpoint is written, and the same call goes on from there."""


class ProcessKilledError(TrainingError):
    """A child process that a signal ended, such as one sent for lack of memory; a run resumes from its checkpoint."""


class ChampionError(ModelError):
    """The record of champions, the frozen test set or the deciding figure cannot be used."""
