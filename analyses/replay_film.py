"""Film of a recorded replay: both views, with action, value estimate and return.

Pillow writes it. Imageio, which calls Pillow too, gives each picture a palette: a film of 200 steps is a fifth larger
and takes twice as long; its MP4 needs a newer imageio-ffmpeg than gym3, and so Procgen, allows.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from lcd.envs import paint
from lcd.studies.replay import Replay

SCALE, GAP, CAPTION = 4, 8, 34
MILLISECONDS = 66
"""Duration of a step, about the 15 steps a second at which people play Procgen."""

BACKGROUND, INK = (24, 24, 28), (235, 235, 235)


def write_film(replay: Replay, path: Path) -> None:
    """Write a replay as an animated GIF, with the label maps beside the frames where the game has any.

    Parameters
    ----------
    replay
        The recording.
    path
        Output file.
    """
    before = replay.returns - replay.rewards  # a frame is that before its step, whose reward is still to come
    has_labels = bool(replay.labels.any())
    pictures = [_picture(replay, step, before[step], has_labels) for step in range(len(before))]
    shared = pictures[len(pictures) // 2].quantize(128)
    frames = [picture.quantize(palette=shared, dither=Image.Dither.NONE) for picture in pictures]
    frames[0].save(
        path, format="GIF", save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, optimize=False
    )


def _picture(replay: Replay, step: int, so_far: float, has_labels: bool) -> Image.Image:
    small = [replay.frames[step], *[paint(replay.labels[step])] * has_labels]
    views = [frame.repeat(SCALE, axis=0).repeat(SCALE, axis=1) for frame in small]
    height, width = views[0].shape[:2]
    canvas = Image.new("RGB", (len(views) * (width + GAP) - GAP, height + CAPTION), BACKGROUND)
    for number, view in enumerate(views):
        canvas.paste(Image.fromarray(view), (number * (width + GAP), CAPTION))
    draw = ImageDraw.Draw(canvas)
    draw.text((6, 3), f"{replay.game}   step {step}   {replay.action_name(step)}", INK)
    draw.text((6, 17), f"return {so_far:.1f}   value {replay.values[step]:+.2f}", INK)
    return canvas
