# SPDX-License-Identifier: Apache-2.0
import shutil
import warnings

import pytest
import torch

from conjoin.vision.data import ImageFolder


def everything(loader):
    batches = list(loader)
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def files(data, split):
    built = data.dataset(split)
    return {str(built.path(index).relative_to(data.root)) for index in range(len(built))}


def test_held_out_splits_are_disjoint_complete_and_stratified(labelled):
    data = ImageFolder(labelled, 16, val_fraction=0.2, test_fraction=0.3)
    parts = {split: files(data, split) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 15, "val": 6, "test": 9}
    assert len(set.union(*parts.values())) == 30
    assert torch.bincount(torch.from_numpy(data.dataset("val").labels)).tolist() == [2, 2, 2]
    assert data.class_names == ("ant", "bee", "cow")
    assert data.num_classes == 3
    # The run's seed does not move pictures between splits; the split's own does.
    assert (
        files(ImageFolder(labelled, 16, val_fraction=0.2, test_fraction=0.3, seed=9), "val") == parts["val"]
    )
    assert (
        files(ImageFolder(labelled, 16, val_fraction=0.2, test_fraction=0.3, split_seed=1), "val")
        != parts["val"]
    )
    for path in parts["test"]:
        label = data.class_names.index(path.split("/")[0])
        index = [str(data.dataset("test").path(i).relative_to(labelled)) for i in range(9)].index(path)
        assert data.dataset("test")[index]["label"] == label


def test_own_folders_are_used(tmp_path, write_picture):
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        for name in ("a", "b"):
            for number in range(count):
                write_picture(tmp_path / split / name / f"{number}.png", seed=number)
    data = ImageFolder(tmp_path, 16)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [8, 6, 4]
    assert all(path.startswith("val/") for path in files(data, "val"))
    shutil.rmtree(tmp_path / "test")
    data = ImageFolder(tmp_path, 16, test_fraction=0.25)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [6, 6, 2]
    assert all(path.startswith("train/") for path in files(data, "test"))


@pytest.mark.parametrize("inside", ["", "train"])
def test_flat_folder_has_no_labels(tmp_path, write_picture, inside):
    for number in range(10):
        write_picture(tmp_path / inside / f"{number}.jpg", seed=number)
    data = ImageFolder(tmp_path, 16, batch_size=4)
    assert data.num_classes is None
    assert data.class_names is None
    batch = next(iter(data.train_dataloader()))
    assert batch["label"].tolist() == [-1] * 4
    assert batch["x"].shape == (4, 3, 16, 16)


def test_gray_and_nested_and_upper_case(tmp_path, write_picture):
    write_picture(tmp_path / "a/deep/er/1.JPG")
    write_picture(tmp_path / "a/2.JPEG", seed=1)
    write_picture(tmp_path / "b/3.png")
    write_picture(tmp_path / "b/4.png")
    (tmp_path / "b/notes.txt").write_text("not a picture")
    (tmp_path / "b/.hidden.jpg").write_text("not a picture")
    data = ImageFolder(tmp_path, 8, channels=1, val_fraction=0, test_fraction=0, batch_size=4)
    batch = data.batch_transform(next(iter(data.train_dataloader())), train=True)
    assert batch["x"].shape == (4, 1, 8, 8)
    assert sorted(batch["label"].tolist()) == [0, 0, 1, 1]


@pytest.mark.parametrize("workers", [1, 2])
def test_samples_do_not_depend_on_workers_or_order(labelled, workers):
    def run(num_workers, batch_size, epoch):
        data = ImageFolder(
            labelled, 16, num_workers=num_workers, batch_size=batch_size, seed=5, flip=0.5, color=0.5
        )
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        result = everything(loader)
        return dict(zip(result["index"].tolist(), result["x"], strict=True))

    alone, several, other = run(0, 4, 2), run(workers, 3, 2), run(0, 4, 3)
    shared = alone.keys() & several.keys()
    assert len(shared) > 15
    assert all(torch.equal(alone[index], several[index]) for index in shared)
    assert not any(torch.equal(alone[index], other[index]) for index in alone.keys() & other.keys())


def test_evaluation_is_normalised_and_fixed(labelled):
    data = ImageFolder(labelled, 16, batch_size=7)
    first, second = (everything(data.evaluation_dataloader("train")) for _ in range(2))
    assert torch.equal(first["x"], second["x"])
    assert first["x"].dtype == torch.float32
    assert first["index"].tolist() == list(range(24))
    raw = data.eval_transform(data.dataset("train")[3]["x"]).double() / 255
    mean, std = torch.tensor(data.mean).view(3, 1, 1), torch.tensor(data.std).view(3, 1, 1)
    torch.testing.assert_close(first["x"][3].double(), (raw - mean) / std, atol=1e-5, rtol=0)


def test_corrupt_pictures_are_skipped_named_and_limited(labelled):
    for name in ("ant/1.jpg", "bee/1.jpg", "cow/1.jpg"):
        data = (labelled / name).read_bytes()
        (labelled / name).write_bytes(data[: len(data) // 2])
    options = {"val_fraction": 0, "test_fraction": 0, "batch_size": 5}
    with pytest.warns(UserWarning, match=r"Skipped an unreadable sample") as caught:
        result = everything(ImageFolder(labelled, 16, **options).evaluation_dataloader("train"))
    named = " ".join(str(warning.message) for warning in caught)
    assert all(f"{name}/1.jpg is not a whole picture" in named for name in ("ant", "bee", "cow"))
    assert len(result["x"]) == 30
    assert not {1, 11, 21} & set(result["index"].tolist())
    limited = ImageFolder(labelled, 16, max_corrupt=2, **options)
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(RuntimeError, match=r"More than max_corrupt=2 samples cannot be read"),
    ):
        everything(limited.evaluation_dataloader("train"))


def test_pictures_smaller_than_the_crop_are_enlarged_but_not_below_a_patch(tmp_path, write_picture):
    for number in range(4):
        write_picture(tmp_path / f"{number}.png", seed=number, height=10 if number else 6, width=12)
    options = {"val_fraction": 0, "test_fraction": 0, "batch_size": 4}
    assert everything(ImageFolder(tmp_path, 32, **options).train_dataloader())["x"].shape == (4, 3, 32, 32)
    with pytest.warns(UserWarning, match=r"is 12 x 6 pixels, smaller than one patch of 8"):
        everything(ImageFolder(tmp_path, 32, patch_size=8, **options).train_dataloader())


def test_a_class_of_one_is_named(labelled, write_picture):
    write_picture(labelled / "dog/0.jpg")
    with pytest.warns(UserWarning, match=r"1 class\(es\) of .* hold one picture only \(dog\)"):
        data = ImageFolder(labelled, 16)
    assert "dog/0.jpg" in files(data, "train")


def test_bad_folders(tmp_path, write_picture):
    with pytest.raises(
        FileNotFoundError, match=r"The picture folder .*/gone does not exist: check the path\."
    ):
        ImageFolder(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"/file is a file: give the folder"):
        ImageFolder(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"/empty is empty: put .jpg"):
        ImageFolder(tmp_path / "empty")
    (tmp_path / "text").mkdir()
    (tmp_path / "text/notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"/text holds 1 file\(s\) but no picture"):
        ImageFolder(tmp_path / "text")
    write_picture(tmp_path / "mixed/a/0.jpg")
    write_picture(tmp_path / "mixed/0.jpg")
    with pytest.raises(ValueError, match=r"holds 1 picture\(s\) beside its class folders \(0.jpg\)"):
        ImageFolder(tmp_path / "mixed")
    write_picture(tmp_path / "trainless/val/a/0.jpg")
    with pytest.raises(FileNotFoundError, match=r"has val but no train"):
        ImageFolder(tmp_path / "trainless")


def test_bad_splits(labelled, tmp_path_factory, write_picture):
    with pytest.raises(ValueError, match=r"leave nothing to train on"):
        ImageFolder(labelled, val_fraction=0.5, test_fraction=0.5)
    with pytest.raises(ValueError, match=r"val_fraction must lie in \[0, 1\), not 1.5"):
        ImageFolder(labelled, val_fraction=1.5)
    with pytest.raises(
        ValueError, match=r"has no val pictures: add a folder .*val, set val_fraction above 0"
    ):
        ImageFolder(labelled, val_fraction=0).dataset("val")
    root = tmp_path_factory.mktemp("classes")
    for path in ("train/a/0.jpg", "train/a/1.jpg", "val/b/0.jpg", "test/0.jpg"):
        write_picture(root / path)
    with pytest.raises(ValueError, match=r"has the class 'b', which .*train lacks"):
        ImageFolder(root).dataset("val")
    with pytest.raises(ValueError, match=r"test has no class folders, but .*train has"):
        ImageFolder(root).dataset("test")
