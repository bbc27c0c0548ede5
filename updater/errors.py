"""What ends a run of the updater."""


class UpdateError(Exception):
    """It can't be done now: what, where, and what to do about it, in one sentence."""


class UnfitRelease(UpdateError):
    """This release can't work on this unit, however often it is tried."""
