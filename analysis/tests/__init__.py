"""Tests of sobaya_analysis on synthetic logs."""
