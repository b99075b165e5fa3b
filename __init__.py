"""Segue: staged audio generation."""
