"""The version of this package, also where it runs without having been installed, as in a job on a cluster."""

__version__ = "0.1.0"
