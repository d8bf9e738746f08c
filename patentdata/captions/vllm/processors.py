"""What a model's folder says about the pictures that it reads: their size, and how many tokens they become.

Models read pictures in one of three ways. A CLIP tower reads one square (LLaVA-1.5). Newer ones read the whole picture
with its proportions: cut into patches up to an area (Qwen-VL, GLM-V, Pixtral, Kimi-VL), or into square tiles
(LLaVA-OneVision, InternVL, Molmo, SmolVLM, Phi, MiniCPM, Llama Vision). A long, flat article that is padded to a square
loses most of its resolution, so such a model is shown the view with its proportions.

Every family writes its settings under names of its own, so this module reads them by these names and knows no model by
its name. What is not written down is not guessed: such a model is shown the usual square.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from patentdata.captions.config import CaptionImageConfig, CaptionsConfig
from patentdata.captions.vllm.images import PictureForm

USUAL_SIZE_PX = 336  # LLaVA-1.5's input
MOST_PIXELS = 1280 * 28 * 28  # of a picture unless the settings say more: line drawings have no finer detail
_LONGEST_SIDE_PX = 16_384  # a longer "edge" is a number of pixels
_USUAL_PATCH_PX = 14
_MAX_FILE_BYTES = 4 << 20

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Processor:
    """How a model reads pictures.

    Attributes:
        kind: "square" (one square of `size_px`), "area" (any proportions, up to `max_pixels`) or "tiles" (square tiles
            of `size_px`, up to `max_pixels` together).
        size_px: Side of the square or tile in pixels; None for "area".
        max_pixels: Most pixels of a picture that are read; None if the folder does not say.
        token_px: Side in pixels of the part of a picture that becomes one token.
        has_size_option: Whether the processor's area can be bounded by its option "size".
    """

    kind: Literal["square", "area", "tiles"]
    size_px: int | None = None
    max_pixels: int | None = None
    token_px: float = _USUAL_PATCH_PX
    has_size_option: bool = False

    def num_tokens(self, form: PictureForm) -> int:
        """Most tokens that a picture of this form becomes."""
        if self.kind == "area":
            pixels = form.size_px**2 if form.size_px else (form.max_pixels or MOST_PIXELS)
            side = math.sqrt(pixels) / self.token_px
            return math.ceil(side * side + 8 * side)  # and one more for each row of a tall, narrow picture
        per_tile = math.ceil((self.size_px or USUAL_SIZE_PX) / self.token_px) ** 2 + 1
        if self.kind == "square":
            return per_tile
        # Every tile that the model may cut, and an overview of the whole; a tenth more for what separates them.
        num_tiles = (self.max_pixels or MOST_PIXELS) // (self.size_px or USUAL_SIZE_PX) ** 2 + 1
        return math.ceil(1.1 * num_tiles * per_tile)


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """The settings in the folder of a model.

    Attributes:
        processor: How it reads pictures; None if its folder does not say.
        max_model_len: Longest prompt and answer together, in tokens; None if its folder does not say.
        num_bytes: Size of its weights in bytes; None if they are not in the folder.
        has_video: Whether it also reads videos.
    """

    processor: Processor | None = None
    max_model_len: int | None = None
    num_bytes: int | None = None
    has_video: bool = False


def read_model_folder(folder: Path) -> ModelFolder:
    """The settings in a folder of the layout of an `-hf` conversion; what is missing or damaged is None."""
    model = _read(folder / "config.json")
    text = _section(model, "text_config")
    return ModelFolder(
        processor=read_processor(folder),
        max_model_len=_whole(text, "max_position_embeddings") or _whole(model, "max_position_embeddings"),
        num_bytes=_num_bytes(folder),
        has_video=not {"video_token_id", "video_token_index"}.isdisjoint(model),
    )


def read_processor(folder: Path) -> Processor | None:
    """How the model in a folder reads pictures; None if the folder does not say.

    The settings are in preprocessor_config.json, or, as transformers 5 writes them, under "image_processor" in
    processor_config.json; those of the model are in config.json.
    """
    model = _read(folder / "config.json")
    sections = (_read(folder / "preprocessor_config.json"), _read(folder / "processor_config.json"))
    for settings in (sections[0], _section(sections[1], "image_processor")):
        for read in (_area, _tiles, _square):
            if (processor := read(settings, model)) is not None:
                return processor
    return None


def picture_form(config: CaptionImageConfig, processor: Processor | None) -> PictureForm:
    """The picture that a model is shown: as the settings say, or else as its processor reads it.

    Args:
        config: Settings of the pictures.
        processor: How the model reads pictures; None if that is not known, which gives the usual square.
    """
    has_proportions = processor is not None and processor.kind != "square"
    mode = config.mode or ("aspect" if config.max_pixels else None) or ("square" if config.size_px else None)
    if (mode or ("aspect" if has_proportions else "square")) == "square":
        own_px = processor.size_px if processor is not None and processor.kind == "square" else None
        return PictureForm(size_px=config.size_px or own_px or USUAL_SIZE_PX, margin_share=config.margin_share)
    most = min((processor and processor.max_pixels) or MOST_PIXELS, MOST_PIXELS)
    # Sides that are whole tokens are not resized again by a processor that reads areas.
    multiple_px = round(processor.token_px) if processor is not None and processor.kind == "area" else 1
    return PictureForm(max_pixels=config.max_pixels or most, multiple_px=multiple_px, margin_share=config.margin_share)


def views_a_question(config: CaptionsConfig, picture: PictureForm) -> int:
    """Most views of one request."""
    if config.views_per_question == 1:
        return 1
    pixels = picture.size_px**2 if picture.size_px is not None else picture.max_pixels
    if config.max_pixels_per_question is None or not pixels:
        return config.max_views_per_question
    return max(1, min(config.max_views_per_question, config.max_pixels_per_question // pixels))


def _area(settings: Settings, model: Settings) -> Processor | None:
    """A processor that cuts a picture of any proportions into patches."""
    size = _section(settings, "size")
    patch_px = _side(settings.get("patch_size")) or _whole(_section(model, "vision_config"), "patch_size")
    patch_px = patch_px or _USUAL_PATCH_PX
    if limit := _whole(settings, "in_token_limit"):  # Kimi-VL
        merged = settings.get("merge_kernel_size")
        side = patch_px * (merged[0] if isinstance(merged, list) and merged else 2)
        return Processor(kind="area", max_pixels=limit * patch_px**2, token_px=side)
    if size.get("height"):
        return None
    edge = _whole(size, "longest_edge")
    is_area = not {"min_pixels", "max_pixels", "merge_size"}.isdisjoint(settings)
    if is_area or (edge or 0) > _LONGEST_SIDE_PX:  # Qwen-VL, GLM-V: the edges are numbers of pixels
        merge = _whole(settings, "merge_size") or _whole(_section(model, "vision_config"), "spatial_merge_size") or 2
        most = _whole(settings, "max_pixels") or (edge if (edge or 0) > _LONGEST_SIDE_PX else None)
        return Processor(kind="area", max_pixels=most, token_px=patch_px * merge, has_size_option=True)
    if edge and "patch_size" in settings and "max_image_size" not in settings:  # Pixtral
        merge = _whole(model, "spatial_merge_size") or 1
        return Processor(kind="area", max_pixels=edge**2, token_px=patch_px * merge)
    return None


def _tiles(settings: Settings, model: Settings) -> Processor | None:
    """A processor that cuts a picture into square tiles."""
    size = _section(settings, "size")
    vision = _section(model, "vision_config")
    patch_px = _whole(vision, "patch_size") or _USUAL_PATCH_PX
    tile_px = _side(size) or _side(settings.get("crop_size")) or _whole(size, "shortest_edge")
    # LLaVA-OneVision and LLaVA-NeXT, DeepSeek-VL2: the sizes that tiles may make together.
    sizes = settings.get("image_grid_pinpoints") or settings.get("candidate_resolutions")
    if isinstance(sizes, list) and tile_px and (areas := [_area_of(item) for item in sizes]):
        return _tiled(tile_px, max(areas) // tile_px**2, patch_px)
    # Idefics3, SmolVLM: the longest side, and the side of a tile.
    edge, part_px = _whole(size, "longest_edge"), _whole(_section(settings, "max_image_size"), "longest_edge")
    if edge and part_px:
        return _tiled(part_px, (edge // part_px) ** 2, patch_px * (_whole(model, "scale_factor") or 1))
    # The others name the number of tiles; InternVL in the settings of the model or of the processor.
    ratio = model.get("downsample_ratio")
    shrink = 1 / ratio if isinstance(ratio, float) and 0 < ratio <= 1 else 1.0
    if num := _whole(model, "max_dynamic_patch"):
        return _tiled(_whole(model, "force_image_size") or tile_px or 448, num, patch_px * shrink)
    if "crop_to_patches" in settings and tile_px:
        return _tiled(tile_px, _whole(settings, "max_patches") or 12, patch_px * shrink)
    base = settings.get("base_image_input_size")
    for name, side_px, pooled in (
        ("max_crops", _side(base) or tile_px or 336, 2),  # Molmo
        ("num_crops", 336, 2),  # Phi
        ("max_slice_nums", _whole(settings, "scale_resolution") or 448, 4),  # MiniCPM
        ("max_image_tiles", tile_px or 560, 1),  # Llama Vision
    ):
        if num := _whole(settings, name):
            return _tiled(side_px, num, patch_px * pooled)
    return None


def _tiled(tile_px: int, num_tiles: int, token_px: float) -> Processor:
    return Processor(
        kind="tiles", size_px=tile_px, max_pixels=max(1, num_tiles) * tile_px**2, token_px=max(1.0, token_px)
    )


def _square(settings: Settings, model: Settings) -> Processor | None:
    """A processor that reads one square."""
    sizes = settings.get("crop_size") or settings.get("size")
    if isinstance(sizes, Mapping):
        sizes = sizes.get("height") or sizes.get("shortest_edge")
    if not (isinstance(sizes, int) and 28 <= sizes <= 2048):
        return None
    patch_px = _whole(_section(model, "vision_config"), "patch_size") or _USUAL_PATCH_PX
    return Processor(kind="square", size_px=sizes, max_pixels=sizes**2, token_px=patch_px)


def _num_bytes(folder: Path) -> int | None:
    """Size of the weights, from the index of their files or the files themselves."""
    index = _section(_read(folder / "model.safetensors.index.json"), "metadata")
    if total := _whole(index, "total_size"):
        return total
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    return sum(sizes) or None


def _read(path: Path) -> Settings:
    """The object in a JSON file; empty if it cannot be read or is too large for settings."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        values = json.loads(content) if len(content) <= _MAX_FILE_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, Mapping) else {}


def _section(settings: Settings, name: str) -> Settings:
    """The object under a name; empty if it is missing or is not an object."""
    section = settings.get(name)
    return section if isinstance(section, Mapping) else {}


def _whole(settings: Settings, name: str) -> int | None:
    """The positive whole number under a name; None if there is none."""
    value = settings.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40 else None


def _side(size: Any) -> int | None:
    """The side of a square, from a number, [height, width] or {"height": …}; None if it is not one of these."""
    if isinstance(size, Mapping):
        size = size.get("height")
    if isinstance(size, list) and size:
        size = size[0]
    return size if isinstance(size, int) and 0 < size <= _LONGEST_SIDE_PX else None


def _area_of(size: Any) -> int:
    """Number of pixels of [height, width]; 0 if it is not such a pair."""
    if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return int(size[0] * size[1])
    return 0
