"""What can go wrong in ``model``.

::

    ModelError
    ├── BundleError      a bundle is missing, incomplete, altered or too new
    ├── InputError       a film or an input array has not the shape, type or range asked for
    ├── DataError        a folder of labelled films cannot be used
    ├── ConfigError      a training configuration cannot be used
    ├── TrainingError    a run folder cannot be used or continued
    ├── EngineError      an engine is not installed or cannot open the network
    └── ExportError      a trained run cannot be made into a bundle

Each message is our own sentence and says what to do; none quotes a library's exception.
"""

from __future__ import annotations


class ModelError(Exception):
    """Base of every error raised on purpose by ``model``."""


class BundleError(ModelError):
    """A bundle is missing, incomplete, altered or of a format this version does not know."""


class InputError(ModelError):
    """A film or an input array has not the shape, type or value range that is asked for."""


class DataError(ModelError):
    """A folder of labelled films cannot be used for training or evaluation."""


class ConfigError(ModelError):
    """A training configuration is missing, malformed or out of range."""


class TrainingError(ModelError):
    """A run folder cannot be used or continued."""


class EngineError(ModelError):
    """An inference engine is not installed or cannot open the network."""


class ExportError(ModelError):
    """A trained run cannot be made into a bundle."""
