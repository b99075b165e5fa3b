"""Adapters to the real model classes, the pool that holds them, and the embedded weights."""
