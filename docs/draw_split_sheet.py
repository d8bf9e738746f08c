"""Draw docs/images/split_sheet.png: an invented sheet with what was found on it, and the views cut from it."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from patentdata.grants.parsing import parse_grant
from patentdata.specimens import SpecimenConfig, draw_patent
from patentdata.store.report import Report
from patentdata.views.patent_views import ViewsConfig, patent_views
from patentdata.views.sheets import read_sheet

_NUMBER = 900033
_INK = {"box": "#0b6e99", "label_box": "#c2410c"}


def draw(path: Path) -> None:
    """Draw the sheet of one invented patent that has the most figures, with its views next to it."""
    patent = draw_patent(_NUMBER, date="20240102", config=SpecimenConfig(first_number=_NUMBER))
    grant = parse_grant(patent.xml, source_archive="I20240102", source_member=patent.name)
    views = patent_views(grant, patent.sheets, config=ViewsConfig(), report=Report("views"))
    sheets = [view["sheet_number"] for view in views]
    number = max(filter(None, sheets), key=lambda number: (sheets.count(number), -number))
    chosen = [view for view in views if view["sheet_number"] == number]
    sheet = read_sheet(next(data for name, data in patent.sheets.items() if f"D{number:05}" in name), name=patent.name)

    figure, axes = plt.subplots(
        1, 1 + len(chosen), figsize=(9, 4.2), gridspec_kw={"width_ratios": [1.3, *[1] * len(chosen)]}
    )
    axes[0].imshow(sheet, cmap="gray", interpolation="antialiased")
    axes[0].set_title(f"sheet {number} of {grant['title']}", fontsize=9)
    for view, axis in zip(chosen, axes[1:], strict=True):
        for name, colour in _INK.items():
            x0, y0, x1, y1 = view[name]
            axes[0].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.2))
        image = cv2.imdecode(np.frombuffer(view["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
        axis.imshow(image, cmap="gray", interpolation="antialiased")
        axis.set_title(f"{view['view_id']}: {view['viewpoint']}", fontsize=9)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_edgecolor("#cccccc")
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw(Path(__file__).parent / "images" / "split_sheet.png")
