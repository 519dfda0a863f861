"""The four kinds of error that are not bugs: each is printed in plain words, without a traceback."""


class UserError(Exception):
    """Something the user can mend: what is wrong, where, and what to do, in one line. Exit code 2."""


class NonFiniteLossError(Exception):
    """The loss of a trial became infinite or not a number."""


class TrialsFailedError(Exception):
    """Some trials of a stage failed, the others are finished: which, why, and how to go on. Exit code 1."""


class FaultsFoundError(Exception):
    """The doctor has found something wrong, and has said what. Exit code 1."""
