# SPDX-License-Identifier: Apache-2.0
"""Small letters as pixels, for the names of leads beside their strips: pictures need no font then."""

import numpy as np
from numpy.typing import NDArray

__all__ = ("lettering",)

# Five rows from above, "#" for ink; letters of three columns, but for those that need five.
_GLYPHS = {
    "A": ".#. #.# ### #.# #.#",
    "B": "##. #.# ##. #.# ##.",
    "C": ".## #.. #.. #.. .##",
    "D": "##. #.# #.# #.# ##.",
    "E": "### #.. ##. #.. ###",
    "F": "### #.. ##. #.. #..",
    "G": ".## #.. #.# #.# .##",
    "H": "#.# #.# ### #.# #.#",
    "I": "### .#. .#. .#. ###",
    "J": "..# ..# ..# #.# .#.",
    "K": "#.# #.# ##. #.# #.#",
    "L": "#.. #.. #.. #.. ###",
    "M": "#...# ##.## #.#.# #...# #...#",
    "N": "#..# ##.# #.## #..# #..#",
    "O": ".#. #.# #.# #.# .#.",
    "P": "##. #.# ##. #.. #..",
    "Q": ".#. #.# #.# .#. ..#",
    "R": "##. #.# ##. #.# #.#",
    "S": ".## #.. .#. ..# ##.",
    "T": "### .#. .#. .#. .#.",
    "U": "#.# #.# #.# #.# ###",
    "V": "#.# #.# #.# #.# .#.",
    "W": "#...# #...# #.#.# ##.## #...#",
    "X": "#.# #.# .#. #.# #.#",
    "Y": "#.# #.# .#. .#. .#.",
    "Z": "### ..# .#. #.. ###",
    "0": "### #.# #.# #.# ###",
    "1": ".#. ##. .#. .#. ###",
    "2": "##. ..# .#. #.. ###",
    "3": "##. ..# .#. ..# ##.",
    "4": "#.# #.# ### ..# ..#",
    "5": "### #.. ##. ..# ##.",
    "6": ".## #.. ### #.# ###",
    "7": "### ..# .#. .#. .#.",
    "8": "### #.# .#. #.# ###",
    "9": "### #.# ### ..# ##.",
    "-": "... ... ### ... ...",
}
_HEIGHT = 5


def lettering(text: str, scale: int = 2) -> NDArray[np.bool_]:
    """A word in capitals, True where there is ink; characters without a glyph are gaps.

    Args:
        text: The word.
        scale: Pixels per dot.

    Returns:
        bool (5 scale, W).
    """
    gap = np.zeros((_HEIGHT, 1), bool)
    columns = [gap[:, :0]]
    for letter in text.upper():
        rows = _GLYPHS.get(letter, " ".join(["..."] * _HEIGHT)).split()
        columns += [np.array([[dot == "#" for dot in row] for row in rows]), gap]
    dots = np.concatenate(columns, axis=1)[:, : -1 if text else None]
    return dots.repeat(scale, axis=0).repeat(scale, axis=1)
