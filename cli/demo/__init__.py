"""The demo: the main job of the system on real images, every result checked."""
