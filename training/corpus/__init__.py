"""Composed and rendered music with known stems, tempo, key and captions; everything follows from one integer seed."""

from .clip import Clip, make_clip, make_corpus

__all__ = ["Clip", "make_clip", "make_corpus"]
