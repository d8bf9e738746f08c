"""The classification heads: a fusion head reads tokens of image and caption, a cosine head the image's features alone.

A fusion head can see parts of a drawing that its features have averaged away, but starts from nothing. A cosine head
starts from what a pretrained model knows of the classes, if its directions are the features of their prompts; it is
then a classifier before the first step. Both end in a linear layer `out`, which can be refitted.

The towers stay as open_clip builds them. open_clip's `forward_intermediates` returns the tokens of the last layer
together with the features, so that features and class logits take a single forward pass.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

FUSION, COSINE = "fusion", "cosine"
HEADS = (FUSION, COSINE)

_HEAD_WIDTH = 64  # channels of one attention head


class FusionHead(nn.Module):
    """Class logits from image tokens and text tokens, fused by attention.

    Tokens of both modalities are projected to one width and marked by modality; a single learned query attends over all
    of them, and a linear layer predicts the classes from its output. With one query the cost grows linearly with the
    number of tokens: less than a hundredth of a ViT-B-32.

    The head must work without text, since the caption of a test patent contains its title: drop the text of some items
    in training (`keep_text`) and of all at inference.
    """

    kind = FUSION

    def __init__(self, *, image_width: int, text_width: int, num_classes: int, width: int = 256, seed: int = 0) -> None:
        """Build the head with weights drawn from the seed; the caller's random state does not change.

        Args:
            image_width: Width of an image token.
            text_width: Width of a text token.
            num_classes: Length of the class table.
            width: Channels of the attention; a multiple of 64.
            seed: Seed of the fresh weights.
        """
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.image_norm = nn.LayerNorm(image_width)
            self.text_norm = nn.LayerNorm(text_width)
            self.image_in = nn.Linear(image_width, width)  # its bias marks image tokens
            self.text_in = nn.Linear(text_width, width)
            self.query = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
            self.attention = nn.MultiheadAttention(width, width // _HEAD_WIDTH, batch_first=True)
            self.out_norm = nn.LayerNorm(width)
            self.out = nn.Linear(width, num_classes)

    def forward(
        self,
        image_tokens: torch.Tensor,
        text_tokens: torch.Tensor | None = None,
        *,
        text_mask: torch.Tensor | None = None,
        keep_text: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Classify.

        Args:
            image_tokens: (batch, num_image_tokens, image_width).
            text_tokens: (batch, num_text_tokens, text_width); None classifies by the images alone.
            text_mask: (batch, num_text_tokens) bool, False for padding; None if there is no padding.
            keep_text: (batch,) bool, False for items whose text is ignored; None uses all texts.

        Returns:
            (batch, num_classes) logits.
        """
        return self.out(self.inputs(image_tokens, text_tokens, text_mask=text_mask, keep_text=keep_text))

    def inputs(
        self,
        image_tokens: torch.Tensor,
        text_tokens: torch.Tensor | None = None,
        *,
        text_mask: torch.Tensor | None = None,
        keep_text: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The input of the last layer, from the arguments of `forward`: (batch, width)."""
        tokens = self.image_in(self.image_norm(image_tokens))
        ignored = None
        if text_tokens is not None:
            batch, num_text = text_tokens.shape[:2]
            used = torch.ones(batch, num_text, dtype=torch.bool, device=tokens.device)
            if text_mask is not None:
                used = used & text_mask
            if keep_text is not None:
                used = used & keep_text[:, None]
            ignored = torch.cat([used.new_zeros(tokens.shape[:2]), ~used], dim=1)  # (batch, num_tokens)
            tokens = torch.cat([tokens, self.text_in(self.text_norm(text_tokens))], dim=1)
        query = self.query.expand(len(tokens), -1, -1).to(tokens.dtype)
        fused, _ = self.attention(query, tokens, tokens, key_padding_mask=ignored, need_weights=False)
        return self.out_norm(fused[:, 0])


class CosineHead(nn.Module):
    """Class logits from image features: a linear layer on features of unit length times a learned scale.

    As in LIFT (arXiv 2309.10019), a logit begins as the cosine between an image and the direction of a class, times the
    scale. Unlike there, the directions need not keep unit length, so that the layer is an ordinary one.
    """

    kind = COSINE

    def __init__(self, *, embed_dim: int, num_classes: int, scale: float = 1 / 0.07, seed: int = 0) -> None:
        """Build the head with random directions; the caller's random state does not change.

        Args:
            embed_dim: Width of the features.
            num_classes: Length of the class table.
            scale: Initial scale.
            seed: Seed of the directions.
        """
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.out = nn.Linear(embed_dim, num_classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.set_directions(torch.randn(num_classes, embed_dim))

    @torch.no_grad()
    def set_directions(self, directions: torch.Tensor) -> None:
        """Start from other directions, such as text features of the classes: (num_classes, embed_dim)."""
        self.out.weight.copy_(nn.functional.normalize(directions, dim=1))
        self.out.bias.zero_()

    def forward(
        self,
        image_features: torch.Tensor,
        text_tokens: torch.Tensor | None = None,
        *,
        text_mask: torch.Tensor | None = None,
        keep_text: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Classify by the images; texts are taken, as a fusion head takes them, and ignored.

        Logits are computed in float32 even under autocast: at a scale of 100, bfloat16 would be off by 0.4.

        Args:
            image_features: (batch, embed_dim), unit length.

        Returns:
            (batch, num_classes) logits, float32.
        """
        with torch.autocast(image_features.device.type, enabled=False):
            logits: torch.Tensor = self.out(self.inputs(image_features))
        return logits

    def inputs(self, image_features: torch.Tensor) -> torch.Tensor:
        """The input of the last layer: (batch, embed_dim) float32."""
        return self.log_scale.exp() * image_features.float()


Head = FusionHead | CosineHead


class ClipWithHead(nn.Module):
    """An open_clip model with a classification head: one forward pass gives features and class logits.

    If a tower does not expose its tokens, its features serve as the only token of a fusion head.

    Attributes:
        clip: The open_clip model, unchanged.
        head: The head.
    """

    def __init__(
        self, clip: Any, *, num_classes: int, kind: str = FUSION, seed: int = 0, classifies_all: bool = False
    ) -> None:
        """Add a fresh head on the device of `clip`.

        Args:
            clip: open_clip model.
            num_classes: Length of the class table.
            kind: "fusion" or "cosine".
            seed: Seed of the head's weights.
            classifies_all: Whether `forward` also classifies the images without a text.
        """
        super().__init__()
        self._classifies_all = classifies_all
        self._kind = kind
        self.clip = clip
        self.head: Head = self._build_head(num_classes, seed)
        self.head.to(clip.logit_scale.device)

    def _build_head(self, num_classes: int, seed: int) -> Head:
        image_width, text_width = self._input_widths()
        if self._kind == COSINE:
            scale = self.clip.logit_scale.exp().item()
            return CosineHead(embed_dim=image_width, num_classes=num_classes, scale=scale, seed=seed)
        return FusionHead(image_width=image_width, text_width=text_width, num_classes=num_classes, seed=seed)

    def forward(
        self, images: torch.Tensor, token_ids: torch.Tensor | None, keep_text: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Features of all images and texts, and the classes of the images that have a text, or of all images.

        Args:
            images: (num_images, channels, height_px, width_px); the first num_texts of them belong to the texts, in
                order; the rest, such as other views, has no text.
            token_ids: (num_texts, context_length) int64; None reads no texts.
            keep_text: (num_texts,) bool, False for items that are classified without their text; None uses all.

        Returns:
            image_features (num_images, embed_dim) and, if texts are read, text_features (num_texts, embed_dim), unit
            length; logit_scale, not its logarithm, and logit_bias if the model has one; class_logits (num_texts,
            num_classes); if all images are classified and some have no text, other_class_logits (num_images -
            num_texts, num_classes).
        """
        image_features, image_tokens = self._encode_images(images)
        output = {"image_features": image_features, "logit_scale": self.clip.logit_scale.exp()}
        if token_ids is None:
            num_texts = len(images) if keep_text is None else len(keep_text)
            output["class_logits"] = self.head(image_tokens[:num_texts])
        else:
            num_texts = len(token_ids)
            output["text_features"], text_tokens = self._encode_texts(token_ids)
            output["class_logits"] = self.head(
                image_tokens[:num_texts],
                text_tokens,
                text_mask=self._text_mask(token_ids, text_tokens),
                keep_text=keep_text,
            )
        if self._classifies_all and len(images) > num_texts:
            output["other_class_logits"] = self.head(image_tokens[num_texts:])
        if getattr(self.clip, "logit_bias", None) is not None:
            output["logit_bias"] = self.clip.logit_bias
        return output

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """Class logits from images without text: (num_images, num_classes)."""
        return self.head.out(self.head_inputs(images))

    def head_inputs(self, images: torch.Tensor) -> torch.Tensor:
        """What the last layer of the head gets from images without text: (num_images, width)."""
        return self.head.inputs(self._encode_images(images)[1])

    def _encode_images(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(num_images, embed_dim) features, and what the head reads.

        A fusion head reads (num_images, num_tokens, width) tokens, a cosine head the features.
        """
        if self._kind == COSINE:
            features = self.clip.encode_image(images, normalize=True)
            return features, features
        if not _exposes_tokens(self.clip.visual):
            features = self.clip.encode_image(images, normalize=True)
            return features, features[:, None]
        output = self.clip.forward_intermediates(image=images, image_indices=1)
        grid = output["image_intermediates"][-1]  # (num_images, width, height, width)
        return output["image_features"], grid.flatten(2).transpose(1, 2)

    def _encode_texts(self, token_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(num_texts, embed_dim) features and (num_texts, num_tokens, width) tokens."""
        # A model without a `text` module holds the parts of the text tower itself.
        if not _exposes_tokens(getattr(self.clip, "text", self.clip)):
            features = self.clip.encode_text(token_ids, normalize=True)
            return features, features[:, None]
        output = self.clip.forward_intermediates(text=token_ids, text_indices=1)
        return output["text_features"], output["text_intermediates"][-1]

    def _text_mask(self, token_ids: torch.Tensor, text_tokens: torch.Tensor) -> torch.Tensor | None:
        """(num_texts, num_tokens) bool, True up to the last token that is not padding.

        None if the tower gives another number of tokens than there are ids.
        """
        if text_tokens.shape[1] != token_ids.shape[1]:
            return None
        is_text = token_ids != getattr(getattr(self.clip, "text", None), "pad_id", 0)
        return is_text.flip(1).cumsum(1).flip(1) > 0

    @torch.no_grad()
    def _input_widths(self) -> tuple[int, int]:
        """Widths of what the head reads of images and of texts, from a forward pass over zeros."""
        device, was_training = self.clip.logit_scale.device, self.clip.training
        height, width = _pair(self.clip.visual.image_size)
        self.clip.eval()
        try:
            _, image_tokens = self._encode_images(torch.zeros(1, 3, height, width, device=device))
            token_ids = torch.zeros(1, self.clip.context_length, dtype=torch.int64, device=device)
            _, text_tokens = self._encode_texts(token_ids)
        finally:
            self.clip.train(was_training)
        return image_tokens.shape[-1], text_tokens.shape[-1]


def _exposes_tokens(tower: nn.Module) -> bool:
    return hasattr(getattr(tower, "trunk", tower), "forward_intermediates")


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
