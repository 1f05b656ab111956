"""The outcomes on the page are told apart by colour, in both schemes and with every kind of colour blindness.

Colour blindness is simulated as by Machado, Oliveira and Fernandes (2009), at full strength; colours are compared in
CIELAB. A difference of 2.3 is just noticed.
"""

from __future__ import annotations

import itertools
import re
from importlib import resources

import pytest

CSS = (resources.files("bulkedit.after.report") / "page/page.css").read_text("utf-8")
NAMES = ("applied", "rejected", "conflicted", "failed")
SEEN = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
LEAST = 20.0
Colour = tuple[float, ...]


def colours(scheme: str) -> dict[str, str]:
    """The variables of a scheme; print comes last."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    assert len(blocks) == 3
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", blocks[("light", "dark", "print").index(scheme)]))


def light(colour: str) -> Colour:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return tuple(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)


def seen(colour: Colour, eye: str) -> Colour:
    mixed = (sum(share * part for share, part in zip(row, colour, strict=True)) for row in SEEN[eye])
    return tuple(min(1.0, max(0.0, part)) for part in mixed)


def lab(colour: Colour) -> Colour:
    red, green, blue = colour
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("eye", SEEN)
@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_no_two_outcomes_look_alike(scheme: str, eye: str) -> None:
    found = colours(scheme)
    places = {name: lab(seen(light(found[name]), eye)) for name in NAMES}
    apart = {
        (one, other): sum((a - b) ** 2 for a, b in zip(places[one], places[other], strict=True)) ** 0.5
        for one, other in itertools.combinations(NAMES, 2)
    }
    assert {pair: far for pair, far in apart.items() if far < LEAST} == {}


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_each_is_seen_on_its_ground(scheme: str) -> None:
    """WCAG 2.2, 1.4.11: graphics that carry meaning have a contrast of at least 3 to 1."""
    found = colours(scheme)

    def luminance(name: str) -> float:
        red, green, blue = light(found[name])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    ground = luminance("ground")
    for name in (*NAMES, "unprocessed", "bar"):
        high, low = max(luminance(name), ground), min(luminance(name), ground)
        assert (high + 0.05) / (low + 0.05) >= 3, name
