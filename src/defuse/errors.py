"""The exceptions that Defuse raises on purpose. Each message is one line: what, where, expected, what to do."""


class DefuseError(Exception):
    """Base of every error that a user can cause or meet; the command line prints it and exits with code 2."""


class DataError(DefuseError):
    """Images or labels that cannot be used."""


class ClassifierError(DefuseError):
    """A classifier that cannot be loaded, or that answers in a way no classifier should."""


class GeneratorError(DefuseError):
    """A generator that cannot be trained or loaded, or that is too poor to search with."""


class ConfigError(DefuseError):
    """A configuration with unknown keys, wrong types, or values that contradict each other."""


class RunError(DefuseError):
    """An output folder that is in use, belongs to another configuration, or lacks a stage that is needed."""


class VerdictError(DefuseError):
    """Verdicts that do not fit the regions they speak of."""


class SuiteError(DefuseError):
    """A regression suite that is damaged or does not fit the classifier."""
