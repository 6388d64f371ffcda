"""The reference puller: the shortest code that does what containerd's CRI image pull does."""

__version__ = "0.1.0"
