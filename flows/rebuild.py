"""Flow rebuild: whole years, such as IMPACT's 2007 to 2022, to a dataset."""

from __future__ import annotations

from prefect import flow

from flows.refresh import RefreshConfig, WalkResult, refresh
from patentdata.errors import ConfigError


@flow(name="rebuild", validate_parameters=True)
def rebuild(config: RefreshConfig) -> WalkResult:
    """Walk whole years to a dataset. Trains only where `training` is given.

    Raises:
        ConfigError: No years are named.
        WeeksFailedError: Some weeks failed, after everything else was done.
    """
    if not config.weeks.years:
        raise ConfigError("no years to rebuild; name them, such as [2021, 2022]")
    return refresh.fn(config)
