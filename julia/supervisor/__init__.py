"""Keeps the processes of a role alive: starts them, watches them, starts them again, and never leaves one behind."""
