"""Image to small plane: area resize, luma, and the 64x64 grey thumbnail.

An image of any shape becomes a square: stored images are squashed to a square too, so that an eval image of 640x480
and its stored copy of 340x340 meet in the same frame. Pillow's box filter takes the mean of what a cell covers, in one
thread and integer arithmetic, so that it is the same on every machine. (Matrix products were as fast alone, and 10
times slower where the BLAS threads of several workers met on two cores.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import PIL.Image

from .errors import DedupError

Image = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

GREY_SIZE = 64
# JFIF luma and chroma of RGB (BT.601), one column each: what a JPEG stores.
YCBCR: Float32 = np.array([[0.299, -0.168736, 0.5], [0.587, -0.331264, -0.418688], [0.114, 0.5, -0.081312]], np.float32)


def check_image(image: Image) -> None:
    """Refuses what is not a uint8 RGB image.

    Raises:
        DedupError: the shape or type is another.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise DedupError(f"expected an image as uint8 (height, width, 3), found {image.dtype} {image.shape}")


def area_resize(image: Image, size: int) -> Image:
    """(size, size, 3) uint8: each cell the mean of the part of the image that it covers."""
    check_image(image)
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(PIL.Image.fromarray(image).resize((size, size), PIL.Image.Resampling.BOX))


def grey(image: Image, size: int = GREY_SIZE) -> Float32:
    """(size, size) float32 luma in [0, 255] of the whole image, area-resized."""
    small = area_resize(image, size).astype(np.float32)
    plane: Float32 = small[..., 0] * YCBCR[0, 0] + small[..., 1] * YCBCR[1, 0] + small[..., 2] * YCBCR[2, 0]
    return plane
