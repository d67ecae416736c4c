"""Figures, tables and one self-contained HTML report from the logs of sobaya runs."""

__version__ = "0.1.0"
