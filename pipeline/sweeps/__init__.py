"""A list of trials: what each is, which are done already, and how one is run."""
