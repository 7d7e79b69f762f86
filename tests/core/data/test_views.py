# SPDX-License-Identifier: Apache-2.0
"""A data module seen through a policy: what batches hold, and that draws are keyed."""

import pytest
import torch

from conjoin.core.data import DataModule, Looks, MultiView, SampleViews


class Signals(DataModule):
    num_classes = 2
    class_names = ("a", "b")
    rate = 100

    def __init__(self, **options):
        super().__init__(batch_size=4, **options)
        self.eval_transform = lambda x: x[:, 10:30]

    def build(self, split):
        x = torch.arange(8 * 2 * 40.0).view(8, 2, 40)
        return [{"x": a, "label": n % 2} for n, a in enumerate(x)]

    def batch_transform(self, batch, train):
        return batch | {"x": batch["x"] / 10}


class Stretches(SampleViews):
    """A long stretch and two short ones, at random."""

    def __call__(self, x):
        starts = [int(torch.randint(40 - size + 1, ())) for size in (20, 8, 8)]
        return [x[:, s : s + size] for s, size in zip(starts, (20, 8, 8), strict=True)]


def module(seed=0, workers=0):
    return MultiView(Signals(seed=seed, num_workers=workers), Stretches())


def prepared(data, loader, train):
    return [data.batch_transform(batch, train) for batch in loader]


def test_training_batches_bring_views_and_the_first_stands_for_the_sample():
    data = module()
    batches = prepared(data, data.train_dataloader(), True)
    for batch in batches:
        assert [tuple(view.shape) for view in batch["views"]] == [(4, 2, 20), (4, 2, 8), (4, 2, 8)]
        assert batch["x"] is batch["views"][0]
        # Transformed like any batch, and of the sample that the batch names.
        for view in batch["views"]:
            torch.testing.assert_close((view[:, 0, 0] * 10 // 80).long(), batch["index"])
            torch.testing.assert_close(view.diff(dim=2), torch.full_like(view[..., 1:], 0.1))
        assert torch.equal(batch["label"], batch["index"] % 2)


def test_windows_of_an_evaluation_leave_the_one_that_stands_for_the_sample():
    inner = Signals(seed=0)
    inner.eval_transform = lambda x: Looks(x[:, :10], x.unflatten(1, (-1, 10)).movedim(1, 0))
    batch = next(iter(MultiView(inner, Stretches()).val_dataloader()))["x"]
    assert batch["x"].shape == (4, 2, 10)
    assert len(batch["views"]) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_views_are_a_function_of_seed_epoch_and_index(workers):
    first, again = (
        {
            int(i): view
            for batch in prepared(d, d.train_dataloader(), True)
            for i, view in zip(batch["index"], batch["views"][1], strict=True)
        }
        for d in (module(), module(workers=workers))
    )
    assert all(torch.equal(first[i], again[i]) for i in range(8))
    data = module()
    loader = data.train_dataloader()
    loader.sampler.set_epoch(1)
    later = prepared(data, loader, True)
    assert any(
        not torch.equal(first[int(i)], view)
        for b in later
        for i, view in zip(b["index"], b["views"][1], strict=True)
    )


def test_validation_has_evaluations_sample_beside_fixed_views():
    data = module()
    one, other = (prepared(data, data.val_dataloader(), False)[0] for _ in range(2))
    expected = torch.arange(4 * 80.0).view(4, 2, 40)[:, :, 10:30] / 10
    torch.testing.assert_close(one["x"], expected)
    assert all(torch.equal(a, b) for a, b in zip(one["views"], other["views"], strict=True))
    loader = data.val_dataloader()
    loader.sampler.set_epoch(3)
    assert torch.equal(prepared(data, loader, False)[0]["views"][1], one["views"][1])


@pytest.mark.parametrize("name", ["test_dataloader", "predict_dataloader"])
def test_evaluation_is_the_wrapped_modules(name):
    data = module()
    batch = prepared(data, getattr(data, name)(), False)[0]
    assert "views" not in batch
    expected = next(iter(data.data.evaluation_dataloader("test")))
    assert torch.equal(batch["x"], expected["x"])
    assert torch.equal(next(iter(data.evaluation_dataloader("train")))["x"], expected["x"])


def test_everything_else_is_the_wrapped_modules():
    data = module(seed=5)
    assert (data.num_classes, data.class_names, data.batch_size, data.seed) == (2, ("a", "b"), 4, 5)
    assert data.rate == 100
    assert data.dataset("train") is data.data.dataset("train")
    with pytest.raises(AttributeError, match="nothing"):
        _ = data.nothing


class Framed(Stretches):
    """The same stretches, and where they start."""

    def framed(self, x):
        views = self(x)
        return views, [torch.tensor([[(view[0, 0] % 40).item(), 1.0]]) for view in views]


def test_batches_say_where_views_were_cut_if_the_policy_does():
    data = MultiView(Signals(seed=0), Framed())
    batches = [
        *prepared(data, data.train_dataloader(), True),
        *prepared(data, data.val_dataloader(), False),
    ]
    for batch in batches:
        assert [tuple(frames.shape) for frames in batch["frames"]] == 3 * [(4, 1, 2)]
        for view, frames in zip(batch["views"], batch["frames"], strict=True):
            torch.testing.assert_close(view[:, 0, 0] * 10 % 40, frames[:, 0, 0])
    plain = module()
    assert "frames" not in prepared(plain, plain.train_dataloader(), True)[0]
