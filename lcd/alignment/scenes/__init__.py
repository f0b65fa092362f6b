"""Ray-cast scenes with known depth order and lines of sight: a ball, an occluder and a camera figure."""

from lcd.alignment.scenes.raycasting import LABELS, render
from lcd.alignment.scenes.sampling import draw_fours, draw_scenes
from lcd.alignment.scenes.scenes import BALL, FIGURE, OBJECTS, OCCLUDER, Scenes

__all__ = ["BALL", "FIGURE", "LABELS", "OBJECTS", "OCCLUDER", "Scenes", "draw_fours", "draw_scenes", "render"]
