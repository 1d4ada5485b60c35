"""Tests of `fearless data`."""
