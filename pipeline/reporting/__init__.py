"""Runs → tables and figures → the report."""
