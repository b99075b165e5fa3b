"""Composed and rendered music with known stems, tempo, key and captions; everything follows from one integer seed."""

from .clip import Clip, make_clip, make_corpus
from .render import RENDERERS

__all__ = ["RENDERERS", "Clip", "make_clip", "make_corpus"]
