"""The main job from nothing: `python -m demo`."""
