class UserError(Exception):
    """A mistake in the user's files, options or environment.

    The message is one line: what is wrong, where, and what to do. The command line prints it
    without a traceback and exits with status 2.
    """
