"""Tries of a task under Prefect."""

import pytest
from prefect import flow

from model.errors import DatasetError
from tasks.running.retry import stage_task


def test_an_error_that_says_what_to_do_is_raised_at_the_first_try(prefect_server):
    tries = []

    def train() -> None:
        tries.append(1)
        raise DatasetError("no dataset; freeze one")

    trained = stage_task(train, stage="training", of="designs")
    with pytest.raises(DatasetError, match="freeze one"):
        flow(name="train-once")(lambda: trained())()
    assert len(tries) == 1
