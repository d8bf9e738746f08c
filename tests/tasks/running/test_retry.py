"""Which failed tasks are tried again."""

from types import SimpleNamespace

import pytest
from prefect.states import Completed, Failed

from model import errors as model_errors
from patentdata import errors
from tasks.running.retry import is_worth_retrying

_TASK = SimpleNamespace(name="training")


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [
        (errors.SourceError("cannot read I20210105.tar: timed out"), True),
        (errors.SourceChangedError("I20210105.tar is another file by now"), True),
        (errors.SourceDownError("the portal refuses the key"), False),
        (errors.ArchiveError("I20210105.tar is cut short"), False),
        (errors.ConfigError("no endpoint"), False),
        (model_errors.ModelError("the process failed"), False),
        (model_errors.DatasetError("no dataset at data/datasets/designs; freeze one"), False),
        (model_errors.ConfigError("beta is -1"), False),
        (model_errors.TrainingError("the loss is not a number since step 7; lower learning_rate"), False),
        (model_errors.TrainingStoppedError("stopped; run again"), False),
        (model_errors.ProcessKilledError("the process was ended by signal 9"), True),
        (OSError("connection reset"), True),
        (ValueError("a bug"), False),
        (RuntimeError("nobody foresaw this"), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_may_pass_by_itself_is_tried_again_and_what_a_person_has_to_fix_is_not(error, is_retried):
    assert is_worth_retrying(_TASK, None, Failed(data=error)) is is_retried


def test_a_task_that_came_through_is_not_tried_again():
    assert is_worth_retrying(_TASK, None, Completed(data=3)) is False
