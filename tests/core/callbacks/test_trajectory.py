# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import torch

from conjoin.core.callbacks.eigensteps import detect_steps
from conjoin.core.callbacks.trajectory import Trajectory


def rising(comparable_from=0):
    """Forty measurements; the second eigenvalue leaps from a millionth to one at the twentieth."""
    made = Trajectory()
    for number in range(40):
        second = 1e-6 if number < 20 else 1.0
        made.append(10 * number, torch.tensor([1.0, second]), 1.5, math.nan, number >= comparable_from)
    return made


def equal(one, other):
    return all(
        np.array_equal(np.asarray(getattr(one, name)), np.asarray(getattr(other, name)), equal_nan=True)
        for name in ("steps", "rankme", "content_share", "comparable")
    ) and torch.equal(torch.stack(one.eigenvalues), torch.stack(other.eigenvalues))


def test_predicted_steps_are_written_beside_the_detected(tmp_path):
    made = Trajectory((3, 7.5))
    made.append(1, torch.tensor([1.0, 0.5]), 1.0, math.nan, True)
    made.save(tmp_path / "monitor.npz")
    with np.load(tmp_path / "monitor.npz") as file:
        assert file["predicted"].tolist() == [3.0, 7.5]
    rising().save(tmp_path / "monitor.npz")
    with np.load(tmp_path / "monitor.npz") as file:
        assert file["predicted"].shape == (0,)


def test_state_goes_through_a_safe_checkpoint(tmp_path):
    torch.save(rising().state_dict(), tmp_path / "state.pt")
    again = Trajectory()
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert equal(again, rising())
    again.append(400, torch.ones(2), 1.0, 0.5, True)
    assert len(again) == 41


def test_an_empty_one_has_a_state_too():
    again = Trajectory()
    again.load_state_dict(Trajectory().state_dict())
    assert len(again) == 0
    assert again.detected() == []


def test_the_leap_is_found_where_measurements_are_comparable():
    whole = rising()
    expected = detect_steps(torch.tensor(whole.steps), torch.stack(whole.eigenvalues))
    assert whole.detected() == expected
    assert any(number == 1 for _, number in expected)
    assert rising(comparable_from=25).detected() == []  # flat from there on
    assert rising(comparable_from=39).detected() == []  # a single measurement


def test_the_file_replaces_the_older_one(tmp_path):
    path = tmp_path / "deep" / "monitor.npz"
    path.parent.mkdir()
    path.write_bytes(b"older")
    rising().save(path)
    found = np.load(path)
    assert found["steps"].tolist() == list(range(0, 400, 10))
    assert found["eigenvalues"].shape == (40, 2)
    assert found["eigenvalues"].dtype == np.float64
    assert found["detected"].shape == (len(rising().detected()), 2)
    assert np.isnan(found["content_share"]).all()
    assert [file.name for file in path.parent.iterdir()] == ["monitor.npz"]
