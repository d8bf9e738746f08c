"""Draw docs/images/broken_lines.png: invented views, the strokes found to be broken, and what is left without them."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from patentdata.specimens.drawing.look_alikes import with_look_alike
from patentdata.specimens.drawing.pen import Inked, Pen, ink_drawing
from patentdata.specimens.drawing.projection import Camera, project
from patentdata.specimens.shapes import articles
from patentdata.specimens.shapes.solids import assemble
from patentdata.views.broken_lines.finding import find_broken_lines, without_broken_lines

_BROKEN = (0.84, 0.0, 0.42)
_SIDE_PX = 1100
# Article, seed, the parts that are surroundings, strokes and gaps, what looks like broken lines, from where it is seen.
_VIEWS = (
    ("handbag", 9, (1, 2), (0.02, 0.013), "stipple", Camera(azimuth=25, elevation=20)),
    ("drum", 3, (1, 2, 4, 5, 7, 8), (0.05, 0.013, 0.01, 0.013), "hatching", Camera(azimuth=10, elevation=35)),
)


def _view(
    article: str, seed: int, surroundings: tuple[int, ...], dash: tuple[float, ...], look_alike: str, camera: Camera
) -> Inked:
    """An article of which the parts named are drawn broken, with strokes that only look so."""
    parts = articles.build(article, np.random.default_rng(seed))
    parts = [part.as_environment() if index in surroundings else part for index, part in enumerate(parts)]
    lines = project(assemble(parts), camera, dash=dash)
    drawing = ink_drawing(lines, _SIDE_PX / float(lines.extent.max()), Pen(solid_px=4, broken_px=3))
    return with_look_alike(drawing, look_alike, np.random.default_rng(seed))


def draw(path: Path) -> None:
    """Draw each view as published, with its broken strokes coloured, and without them."""
    figure, axes = plt.subplots(len(_VIEWS), 3, figsize=(9, 6), squeeze=False)
    for row, settings in zip(axes, _VIEWS, strict=True):
        drawing = _view(*settings)
        page = np.where(drawing.ink, 0, 255).astype(np.uint8)
        lines = find_broken_lines(page)
        assert lines.mask is not None and lines.share is not None
        coloured = np.repeat(page[..., None] / 255, 3, axis=2)
        coloured[lines.mask] = _BROKEN
        pictures = (page / 255, coloured, without_broken_lines(page, lines.mask) / 255)
        titles = ("image", f"broken_share {lines.share:.2f}", "claimed_image")
        for axis, picture, title in zip(row, pictures, titles, strict=True):
            axis.imshow(picture, cmap="gray", interpolation="antialiased", vmin=0, vmax=1)
            axis.set_title(title, fontsize=9, family="monospace")
            axis.set_axis_off()
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw(Path(__file__).parent / "images" / "broken_lines.png")
