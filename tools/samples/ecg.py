# SPDX-License-Identifier: Apache-2.0
"""Rebuild the embedded simulated ECGs with the ECGSYN model of neurokit2.

    python -m pip install neurokit2==0.2.13 scipy
    python tools/samples/ecg.py

McSharry et al., "A dynamical model for generating synthetic electrocardiogram signals", IEEE Transactions on
Biomedical Engineering 50 (2003): a phase runs round the unit circle, once per beat, and each wave (P, Q, R,
S, T) pushes the potential when the phase passes its angle. neurokit2 gives the waves' angles, sizes and
widths and the random process of the beat intervals. It stretches every lead to one range, which would wipe
out the very differences between leads that the classes are about, so the equation of the potential is
integrated here (on the circle the phase is known), with a size for every wave, lead and beat; ``check``
compares a plain beat with neurokit2's own. Leads I, II and V1 to V6 are simulated; III, aVR, aVL and aVF
follow from I and II by Einthoven's and Goldberger's equations when the set is read. There is no baseline
wander: readers may add it.
"""

import importlib
import inspect
from typing import Any

import neurokit2
import numpy as np
from numpy.typing import NDArray
from pack import pack
from scipy.signal import lfilter, resample_poly

Floats = NDArray[np.float64]

RATE, KEPT_RATE, SECONDS, WARM_UP = 500, 100, 5, 2
UNIT = 0.016  # millivolts of one step of int8
COUNTS = {"train": 80, "validation": 12, "test": 24}  # of each combination of rhythm and morphology
RHYTHMS = ("sinus", "bradycardia", "tachycardia", "irregular", "premature beats")
MORPHOLOGIES = ("normal", "wide QRS", "T inversion", "ST elevation")
LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

# The package hides the module behind its function of the same name.
nk = importlib.import_module("neurokit2.ecg.ecg_simulate")
_DEFAULTS = inspect.signature(nk._ecg_simulate_ecgsyn).parameters
ANGLES = np.deg2rad(
    [*_DEFAULTS["ti"].default, 50.0]
)  # P, Q, R, S, T, and a bump between S and T for ST elevation
WIDTHS = np.array([*_DEFAULTS["bi"].default, 0.35])
_PUSH = np.array([*_DEFAULTS["ai"].default, 0.0])
# Height of a wave in millivolts, R being 1: the equation makes a push a of width b as high as a b^2 / omega.
HEIGHTS = _PUSH * WIDTHS**2 / (_PUSH[2] * WIDTHS[2] ** 2)
# Share of each wave in each lead: rows LEADS, columns P, Q, R, S, T, ST.
SHARES = np.array(
    [
        [0.6, 0.6, 0.7, 0.3, 0.6, 1.0],
        [1.0, 0.5, 1.0, 0.6, 0.9, 1.0],
        [0.4, 0.0, 0.25, 3.2, -0.2, 1.0],
        [0.5, 0.0, 0.45, 4.0, 0.8, 1.0],
        [0.5, 0.2, 0.8, 2.6, 1.0, 1.0],
        [0.5, 0.6, 1.4, 1.2, 1.0, 1.0],
        [0.5, 0.7, 1.3, 0.5, 0.8, 1.0],
        [0.5, 0.7, 1.0, 0.2, 0.6, 1.0],
    ]
)
FIBRILLATION = np.array([0.5, 0.8, 1.5, 1.0, 0.6, 0.5, 0.4, 0.4])
# Where an inverted T wave or an elevated ST segment shows.
TERRITORIES = {"anterior": (2, 3, 4, 5), "lateral": (0, 6, 7), "inferior": (1,)}


def intervals(rhythm: str, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """Beat intervals in seconds, and which beats are premature ones from a ventricle."""
    low, high = {"bradycardia": (38, 50), "tachycardia": (110, 150), "irregular": (65, 110)}.get(
        rhythm, (58, 95)
    )
    rate = rng.uniform(low, high)
    beats = 2 * int(np.ceil((SECONDS + WARM_UP) * rate / 60)) + 4
    odd = np.zeros(beats, bool)
    if rhythm == "irregular":
        return np.clip(60 / rate * rng.lognormal(0, 0.24, beats), 0.33, 1.7), odd
    spread = rng.uniform(0.5, 3.0)
    steps = 2 ** int(np.ceil(np.log2(beats)) + 1)
    found = nk._ecg_simulate_rrprocess(hrmean=rate, hrstd=spread, n=steps, rng=rng)[:beats]
    if rhythm == "premature beats":
        first = int(WARM_UP * rate / 60) + 1 + int(rng.integers(0, 2))
        odd[first :: int(rng.integers(2, 4))] = True
        # An early beat and then a compensatory pause: the interval belongs to the time before the next beat.
        for beat in np.flatnonzero(odd):
            early = rng.uniform(0.55, 0.7)
            found[beat - 1] *= early
            found[beat] *= 2 - early
    return found, odd


def waves(
    morphology: str, rhythm: str, odd: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Heights (beats, leads, waves) in millivolts, angles and widths (beats, waves)."""
    beats = len(odd)
    patient = HEIGHTS * SHARES * rng.lognormal(0, 0.18, SHARES.shape) * rng.lognormal(0, 0.2)
    angles = ANGLES * rng.normal(1, 0.05, 6)
    widths = WIDTHS * rng.lognormal(0, 0.08, 6)
    patient[:, 5] = 0.0
    territory = list(list(TERRITORIES.values())[int(rng.choice(3, p=(0.5, 0.25, 0.25)))])
    if morphology == "wide QRS":
        angles[[1, 3]] *= rng.uniform(1.9, 2.4)
        widths[[1, 2, 3]] *= rng.uniform(1.8, 2.4)
        patient[:, 4] *= 0.7
    elif morphology == "T inversion":
        patient[territory, 4] = -np.abs(patient[territory, 4]) * rng.uniform(0.6, 1.1) - 0.05
    elif morphology == "ST elevation":
        patient[territory, 5] = rng.uniform(0.12, 0.3, len(territory))
    if rhythm == "irregular":
        patient[:, 0] = 0.0
    heights = np.repeat(patient[None], beats, axis=0) * rng.normal(1, 0.03, (beats, 1, 1))
    angles, widths = np.repeat(angles[None], beats, axis=0), np.repeat(widths[None], beats, axis=0)
    if odd.any():
        heights[odd, :, 0] = 0.0
        heights[odd, :, 2] *= rng.choice([-1.0, 1.0]) * rng.uniform(1.1, 1.6)
        heights[odd, :, 4] *= -1.0
        angles[np.ix_(odd, [1, 3])] *= 2.2
        widths[np.ix_(odd, [1, 2, 3])] *= 2.4
    return heights, angles, widths


def integrate(rr: Floats, heights: Floats, angles: Floats, widths: Floats) -> Floats:
    """The potential (leads, samples) at RATE, beat after beat from the angle -pi to pi.

    z' = -sum_i a_i d_i exp(-d_i^2 / 2 b_i^2) - z, d_i the phase minus the angle of wave i, a_i = height omega
    / b_i^2.
    """
    ends = np.cumsum(rr)
    time = np.arange(0, ends[-1], 1 / RATE)
    beat = np.minimum(np.searchsorted(ends, time, side="right"), len(rr) - 1)
    omega = 2 * np.pi / rr
    phase = -np.pi + omega[beat] * (time - (ends - rr)[beat])
    # neurokit2 spreads angles and widths with the rate.
    fast = np.sqrt(1 / rr)
    spread = np.stack([np.sqrt(fast), fast, np.ones_like(fast), fast, np.sqrt(fast), np.sqrt(fast)], axis=1)
    angles, widths = angles * spread, widths * fast[:, None]
    distance = np.angle(np.exp(1j * (phase[:, None] - angles[beat])))
    bell = distance * np.exp(-0.5 * (distance / widths[beat]) ** 2) * (omega[:, None] / widths**2)[beat]
    push = -np.einsum("tw,tlw->tl", bell, heights[beat])
    potential: Floats = lfilter([0.0, 1 / RATE], [1.0, -np.exp(-1 / RATE)], push.T, axis=1)
    return potential


def record(rhythm: str, morphology: str, rng: np.random.Generator) -> NDArray[np.int8]:
    """One recording, int8 (8 leads, samples) in steps of UNIT."""
    rr, odd = intervals(rhythm, rng)
    signal = integrate(rr, *waves(morphology, rhythm, odd, rng))
    start = WARM_UP * RATE + int(rng.integers(0, RATE // 2))
    signal = signal[:, start : start + SECONDS * RATE]
    if rhythm == "irregular":
        time = np.arange(signal.shape[1]) / RATE
        wobble = np.cumsum(rng.normal(0, 0.06, signal.shape[1]))
        fibrillation = np.sin(2 * np.pi * rng.uniform(5, 8) * time + wobble)
        signal = signal + rng.uniform(0.02, 0.06) * FIBRILLATION[:, None] * fibrillation
    kept = resample_poly(signal - np.median(signal, axis=1, keepdims=True), 1, RATE // KEPT_RATE, axis=1)
    kept = kept + rng.normal(0, rng.uniform(0.006, 0.02), kept.shape)
    return np.clip(np.round(kept / UNIT), -127, 127).astype(np.int8)


def check() -> None:
    """A plain beat is the one that neurokit2 draws."""
    theirs = neurokit2.ecg_simulate(
        duration=10, sampling_rate=RATE, heart_rate=60, heart_rate_std=0.01, noise=0, random_state=0
    )
    ours = integrate(
        np.ones(12), np.tile(HEIGHTS, (12, 1, 1)), np.tile(ANGLES, (12, 1)), np.tile(WIDTHS, (12, 1))
    )[0]
    beats = []
    for signal in (np.asarray(theirs), ours):
        peak = 4 * RATE + int(np.argmax(signal[4 * RATE : 5 * RATE]))
        beats.append(signal[peak - RATE // 2 : peak + RATE // 2])
    likeness = float(np.corrcoef(*beats)[0, 1])
    if likeness < 0.99:
        raise SystemExit(f"The integrated beat correlates with neurokit2's at only {likeness:.3f}.")
    print(f"correlation with neurokit2's own beat: {likeness:.4f}")


def main() -> None:
    """Simulate and pack."""
    check()
    arrays: dict[str, NDArray[Any]] = {}
    for number, (split, count) in enumerate(COUNTS.items()):
        # Classes take turns, so that any stretch of a split is balanced.
        kinds = [(r, m) for _ in range(count) for r in range(len(RHYTHMS)) for m in range(len(MORPHOLOGIES))]
        arrays[f"{split}_signals"] = np.stack(
            [
                record(RHYTHMS[r], MORPHOLOGIES[m], np.random.default_rng((0, number, index)))
                for index, (r, m) in enumerate(kinds)
            ]
        )
        arrays[f"{split}_rhythms"] = np.array([r for r, _ in kinds], np.uint8)
        arrays[f"{split}_morphologies"] = np.array([m for _, m in kinds], np.uint8)
    arrays |= {
        "rhythm_names": np.array(RHYTHMS),
        "morphology_names": np.array(MORPHOLOGIES),
        "leads": np.array(LEADS),
        "rate": np.array(KEPT_RATE),
        "unit": np.array(UNIT),
    }
    classes = len(RHYTHMS) * len(MORPHOLOGIES)
    entry = {
        "title": "Simulated 12-lead ECGs of 5 s at 100 Hz: five rhythms times four morphologies",
        "source": "https://github.com/neuropsychology/NeuroKit",
        "package": "PyPI neurokit2 (ECGSYN's waves and interval process), signals generated by the script",
        "version": neurokit2.__version__,
        "licence": "MIT (neurokit2), Apache-2.0 (the script and its output)",
        "licence_files": ["licences/ecg.txt"],
        "count": classes * sum(COUNTS.values()),
        "splits": {split: classes * count for split, count in COUNTS.items()},
        "split_rule": (
            "every recording is a patient of its own; record i of split s (0, 1, 2) is drawn from "
            "numpy.random.default_rng((0, s, i)), the 20 combinations taking turns"
        ),
        "script": "tools/samples/ecg.py",
        "source_sha256": {},
    }
    pack("ecg", arrays, entry)


if __name__ == "__main__":
    main()
