"""Synthetic chest radiographs: a small physical model, with opacities of known place and size.

No person was ever in front of this machine. A chest is drawn as thicknesses in centimetres of soft tissue, bone and air
along every ray; what reaches the detector follows the law of Beer and Lambert,

    I = I0 exp(-(mu_tissue t_tissue + mu_bone t_bone)),

with photons that are counted (Poisson), and what one looks at is the logarithm of it, windowed as a radiographer would:
bone and fluid white, air black. An opacity is fluid in place of air: it takes away what the lung has there, and nothing
else, so it is seen only where there is a lung. Everything about a patient varies, and so does the machine.

References
    J. Beutel et al. (eds), "Handbook of medical imaging 1", SPIE Press 2000, chapter 1: attenuation, quantum noise
    A. Badano et al., "Evaluation of digital breast tomosynthesis as replacement of full-field digital mammography using
        an in silico imaging trial", JAMA Network Open 1(7), 2018: a trial without patients
    Coefficients at 60 keV, about the mean energy of a chest X-ray: NIST, XCOM (tissue 0.20, cortical bone 0.60 a cm)

Coordinates: x from -1 (left edge of the picture, the patient's right) to 1, y from -1 (top) to 1; half a picture is
16 cm. The heart lies to the right of the middle, as one faces a patient.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

TISSUE, BONE = 0.20, 0.48  # per cm
CM = 16.0  # in one unit of x or y
Field = Float[np.ndarray, "H W"]
CLASSES = ("normal", "opacity")


@dataclass(frozen=True)
class Machine:
    """How pictures are taken: of one hospital, or of another."""

    photons: float = 5e4  # that arrive at a pixel with nothing in between; fewer: noisier
    scatter: float = 0.25  # of what arrives has lost its way, and is spread evenly: less contrast
    tilt: float = 5.0  # degrees, the standard deviation of how a patient stands
    narrow: float = 0.10  # how much the window of grey values varies
    label: float = 0.0  # of pictures bear a lead letter in the corner


OTHER = Machine(photons=8e3, scatter=0.45, tilt=7.0, narrow=0.16, label=0.7)
"""Another hospital: an older, noisier machine with more scatter, and lead letters on the film."""


@dataclass(frozen=True)
class Spot:
    """An opacity: its middle, half its height and width along its own axes (in units of the picture), and its angle."""

    x: float
    y: float
    half_height: float
    half_width: float
    angle: float

    def inside(self, x: Field, y: Field) -> Field:
        """0 in the middle, 1 on the edge of the ellipse, more outside."""
        dx, dy, c, s = x - self.x, y - self.y, np.cos(self.angle), np.sin(self.angle)
        return np.hypot((c * dx + s * dy) / self.half_width, (c * dy - s * dx) / self.half_height)


def smooth(rng: np.random.Generator, side: int, cells: int) -> Field:
    """Clouds: random numbers of mean 0 and deviation about 1, `cells` of them along a side, with soft transitions."""
    few = rng.standard_normal((cells + 2, cells + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(few).resize((side, side), Image.Resampling.BICUBIC)).astype(float)


def step(x: Field, width: float) -> Field:
    """0 for x well below 0, 1 well above, and soft over about `width`."""
    return 1 / (1 + np.exp(-np.clip(4 * x / width, -30, 30)))


def tube(distance: Field, radius: float | Field, hollow: float = 0.0) -> Field:
    """How much of a round bone a ray at this distance from its axis passes, in units; `hollow` of it is marrow."""
    whole = 2 * np.sqrt(np.clip(radius**2 - distance**2, 0, None))
    return whole - hollow * 2 * np.sqrt(np.clip((0.75 * radius) ** 2 - distance**2, 0, None))


def radiograph(
    seed: int, side: int = 64, spots: int = 0, machine: Machine = Machine()
) -> tuple[UInt8[np.ndarray, "H W"], list]:
    """One picture (side, side), and the opacities (Spot) in it.

    Args:
        seed: the patient and the exposure. The same patient with other `spots` is the same but for these.
        side: pixels.
        spots: how many opacities.
        machine: whose picture it is.
    """
    rng, ill, taken = (np.random.default_rng([seed, stream]) for stream in range(3))  # patient, illness, exposure
    fine = 2 * side
    line = (np.arange(fine) + 0.5) / fine * 2 - 1
    x, y = np.meshgrid(line, line)
    x, y = _posed(x, y, rng, machine)

    body, width, deep = _body(x, y, rng)
    air, hearts = _lungs(x, y, width, rng)
    where = _places(x, y, air, spots, ill)
    fluid = np.zeros_like(air)
    for spot in where:
        ragged = spot.inside(x, y) * np.exp(0.20 * smooth(ill, fine, 7) + 0.10 * smooth(ill, fine, 16))
        patchy = np.clip(ill.uniform(0.30, 0.75) * (1 + 0.25 * smooth(ill, fine, 14)), 0.1, 1)
        fluid = np.maximum(fluid, patchy * air * step(0.95 - ragged, ill.uniform(0.5, 1.0)))
    vessels = _vessels(fine, x, y, air, rng)
    air = np.clip(air - fluid - vessels, 0, None)
    bone = _bones(x, y, width, air, rng)

    tissue = CM * deep * np.clip(body - air + 0.12 * hearts, 0, None)  # inflated lung weighs little, and is left out
    attenuation = TISSUE * tissue + BONE * CM * bone * (body > 0.02)
    return _exposed(attenuation, body, side, taken, machine), where


def _posed(x: Field, y: Field, rng: np.random.Generator, machine: Machine) -> tuple[Field, Field]:
    """The patient's own coordinates: turned a little, larger or smaller, not quite in the middle."""
    angle = np.deg2rad(np.clip(machine.tilt * rng.standard_normal(), -12, 12))
    size = rng.uniform(0.92, 1.12)
    x, y = x - rng.uniform(-0.07, 0.07), y - rng.uniform(-0.08, 0.06)
    return (np.cos(angle) * x + np.sin(angle) * y) / size, (np.cos(angle) * y - np.sin(angle) * x) / size


def _body(x: Field, y: Field, rng: np.random.Generator) -> tuple[Field, float, float]:
    """Thickness of the body from front to back in units, half the width of the chest, and how stout the patient is."""
    width = rng.uniform(0.80, 0.94)
    shoulder = step(y + rng.uniform(0.80, 0.95), 0.12)
    half = rng.uniform(0.26, 0.34) + (width + 0.12 + 0.05 * np.clip(y, -0.5, 1)) * shoulder
    half = half - (rng.uniform(0.20, 0.28)) * shoulder  # at the neck it is the neck alone
    half = np.maximum(half, 0.2) + 0.08 * step(-(y + 0.55), 0.3) * shoulder  # and shoulders stand out
    inside = np.clip(1 - (np.abs(x) / half) ** 2, 0, None)
    folds = rng.uniform(0.0, 0.10) * np.exp(-(((np.abs(x) - 0.45) / 0.25) ** 2) - ((y - 0.35) / 0.22) ** 2)
    return 0.78 * inside**0.35 + folds * (inside > 0), width, rng.uniform(0.85, 1.15)


def _lungs(x: Field, y: Field, width: float, rng: np.random.Generator) -> tuple[Field, Field]:
    """How much air is in the lungs along every ray, in units; and the heart with its great vessels, which take its
    place."""
    top, base = rng.uniform(-0.80, -0.70), rng.uniform(0.48, 0.66)
    air = np.zeros_like(x)
    for sign in (-1, 1):
        u = sign * x
        low = base + (rng.uniform(-0.02, 0.05) if sign > 0 else -rng.uniform(0.0, 0.06))
        along = np.clip((y - top) / (low - top), 1e-3, 1.5)
        outer = (width - rng.uniform(0.06, 0.10)) * (0.45 + 0.55 * along**0.5).clip(0, 1)
        inner = rng.uniform(0.10, 0.13) + 0.05 * np.exp(-(((y - 0.0) / 0.25) ** 2))
        v = (u - inner) / np.maximum(outer - inner, 0.05)
        profile = np.clip(4 * v * (1 - v), 0, None) ** 0.35
        dome = low - 0.16 * np.exp(-(((u - 0.42) / 0.30) ** 2)) + 0.22 * np.clip(u - 0.55, 0, None) + 0.05
        air += 0.40 * profile * step(y - top, 0.16) * step(dome - y, 0.07) * (u > 0)
    size, middle = rng.uniform(0.25, 0.34), rng.uniform(0.08, 0.14)
    angle = rng.uniform(0.3, 0.7)
    dx, dy = x - middle, y - (base - rng.uniform(0.20, 0.28))
    r = np.hypot((np.cos(angle) * dx + np.sin(angle) * dy) / (1.12 * size),
                 (np.cos(angle) * dy - np.sin(angle) * dx) / (0.88 * size))  # fmt: skip
    heart = step(1 - r, 0.22)
    knob = step(1 - np.hypot((x - 0.13) / 0.10, (y + 0.27) / 0.11), 0.5)
    hila = sum(
        rng.uniform(0.35, 0.7) * np.exp(-(((x - at) / 0.09) ** 2) - (((y - low) / 0.13) ** 2))
        for at, low in ((-0.20, 0.0), (0.21, -0.04))
    )
    hearts = np.maximum(np.maximum(heart, 0.8 * knob), hila)
    air = air * (1 - 0.85 * np.clip(hearts, 0, 1)) * (1 + 0.05 * smooth(rng, len(x), 6))
    windpipe = 0.10 * step(0.055 - np.abs(x + 0.01), 0.03) * step(-0.16 - y, 0.15)
    return np.clip(air + windpipe, 0, None), hearts


def _vessels(fine: int, x: Field, y: Field, air: Field, rng: np.random.Generator) -> Field:
    """Arteries and veins: from each hilum outwards, ever thinner, and branching. Only in the lung are they seen."""
    sheet = Image.new("F", (fine, fine))
    draw = ImageDraw.Draw(sheet)

    def grow(at: np.ndarray, angle: float, thick: float, left: int) -> None:
        for _ in range(int(rng.integers(3, 6))):
            to = at + 0.055 * np.array([np.cos(angle), np.sin(angle)])
            spots = [tuple((p + 1) / 2 * fine) for p in (at, to)]
            draw.line(spots, fill=thick, width=max(1, round(thick * fine / 2)))
            at, angle, thick = to, angle + rng.normal(0, 0.16), 0.92 * thick
        if left:
            for turn in (-1, 1):
                grow(at, angle + turn * rng.uniform(0.2, 0.6), 0.72 * thick, left - 1)

    for sign, low in ((-1, 0.0), (1, -0.04)):
        for spread in np.linspace(-1.2, 1.2, int(rng.integers(4, 7))):
            angle = spread + rng.normal(0, 0.15)
            grow(np.array([sign * 0.17, low]), angle if sign > 0 else np.pi - angle, rng.uniform(0.045, 0.065), 2)
    drawn = np.asarray(sheet).astype(float)
    soft = (drawn + np.roll(drawn, 1, 0) + np.roll(drawn, 1, 1) + np.roll(drawn, (1, 1), (0, 1))) / 4
    return np.minimum(air, 1.3 * soft)


def _bones(x: Field, y: Field, width: float, air: Field, rng: np.random.Generator) -> Field:
    """Ribs behind and in front, spine, collarbones: how much bone a ray passes, in units."""
    first, apart, radius = rng.uniform(-0.80, -0.74), rng.uniform(0.150, 0.175), rng.uniform(0.026, 0.034)
    arch, fall = rng.uniform(0.04, 0.09), rng.uniform(0.14, 0.26)
    bone = np.zeros_like(x)
    for number in range(10):
        start = first + number * apart
        reach = (width + 0.01) * (0.50 + 0.50 * min(1, (number + 1) / 4))
        q = np.abs(x) / reach
        there = step(1.0 - q, 0.05) * step(np.abs(x) - 0.07, 0.05)
        behind = start - arch * np.sin(np.pi * np.clip(q, 0, 1)) + fall * q**2
        slope = np.sqrt(1 + (2 * fall * q / reach) ** 2)
        bone += 0.95 * tube((y - behind) / slope, radius, 0.55) * there
        before = start + fall + 0.10 + 0.34 * (1 - q)
        bone += 0.55 * tube((y - before) / 1.15, 1.15 * radius, 0.5) * there * step(q - rng.uniform(0.45, 0.6), 0.25)
    vertebrae = 1 + 0.20 * np.sin(2 * np.pi * (y / (0.95 * apart) + rng.uniform(0, 1)))
    bone += 0.045 * vertebrae * step(0.095 - np.abs(x + 0.012 * np.sin(3 * y)), 0.04)
    for sign in (-1, 1):
        u = sign * x
        collar = first + 0.24 - rng.uniform(0.20, 0.34) * u + 0.05 * np.sin(7 * u)
        bone += 0.8 * tube(y - collar, 0.034, 0.5) * step(u - 0.10, 0.05) * step(width - 0.02 - u, 0.1)
        edge = 0.80 * width + 0.10 * (y + 0.5) ** 2 + rng.uniform(0.0, 0.05)  # the shoulder blade's, turned outwards
        bone += 0.05 * step(u - edge, 0.03) * step(width + 0.12 - u, 0.1) * step(-0.05 - y, 0.2) * step(y - first, 0.1)
    return bone


def _places(x: Field, y: Field, air: Field, spots: int, ill: np.random.Generator) -> list:
    """Opacities whose middle lies in the lung, not in each other."""
    found: list = []
    rows = np.argwhere((air > 0.33) & (np.abs(x) > 0.16))
    for _ in range(20 * spots):
        row, column = rows[ill.integers(len(rows))]
        sizes = ill.uniform(0.11, 0.26) * np.array([1, ill.uniform(0.7, 1.3)])
        spot = Spot(float(x[row, column]), float(y[row, column]), *map(float, sizes), float(ill.uniform(0, np.pi)))
        if len(found) < spots and all(np.hypot(spot.x - o.x, spot.y - o.y) > 0.3 for o in found):
            found.append(spot)
    return found


def _exposed(
    attenuation: Field, body: Field, side: int, taken: np.random.Generator, machine: Machine
) -> UInt8[np.ndarray, "side side"]:
    """Photons through the body on to the detector, and its picture: negative logarithm, windowed to 256 greys."""
    dose = machine.photons * np.exp(taken.normal(0, 0.25))
    direct = np.exp(-attenuation)
    arriving = dose * ((1 - machine.scatter) * direct + machine.scatter * direct.mean())
    arriving = arriving.reshape(side, 2, side, 2).mean(axis=(1, 3))  # a pixel of the picture collects 2 x 2 of ours
    counted = taken.poisson(4 * arriving) / (4 * dose)
    film = -np.log(np.clip(counted, 1e-6, None))
    inner = film[body.reshape(side, 2, side, 2).mean(axis=(1, 3)) > 0.2]
    low, high = np.quantile(inner, (0.02, 0.99))
    spread = high - low
    low += spread * taken.normal(-0.08, machine.narrow / 2)
    high += spread * taken.normal(0.06, machine.narrow)
    grey = np.clip((film - low) / (high - low), 0, 1) ** np.exp(taken.normal(0, 0.18))
    if taken.uniform() < machine.label:  # lead lets nothing through
        row, column = int(side * taken.uniform(0.04, 0.12)), int(side * taken.uniform(0.80, 0.90))
        tall = max(3, side // 12)
        grey[row : row + tall, column : column + 2] = 1
        grey[row + tall - 2 : row + tall, column : column + tall - 1] = 1
    return np.rint(255 * grey).astype(np.uint8)


def in_pixels(spot: Spot, seed: int, machine: Machine = Machine()) -> Spot:
    """The spot where it lies in the picture: without the pose that `radiograph` gave to the patient of this seed."""
    rng = np.random.default_rng([seed, 0])
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    origin_x, origin_y = (float(p[0, 0]) for p in _posed(zero, zero, rng, machine))
    rng = np.random.default_rng([seed, 0])
    ax, ay = (float(p[0, 0]) for p in _posed(one, zero, rng, machine))
    cos, sin = ax - origin_x, ay - origin_y  # cos / size and -sin / size of the turn
    scale = float(np.hypot(cos, sin))
    dx, dy = spot.x - origin_x, spot.y - origin_y
    x, y = (cos * dx + sin * dy) / scale**2, (cos * dy - sin * dx) / scale**2
    turn = float(np.arctan2(sin, cos))
    return replace(
        spot, x=x, y=y, half_height=spot.half_height / scale, half_width=spot.half_width / scale,
        angle=spot.angle - turn,
    )  # fmt: skip
