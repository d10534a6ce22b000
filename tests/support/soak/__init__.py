"""Processes that write while their database fails, and what they lose: `python3 dev.py soak`."""
