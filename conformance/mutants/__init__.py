"""Deliberately broken pullers: the proof that cases can fail (conformance/mutate.py)."""
