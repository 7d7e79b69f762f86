# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning from the command line: any checkpoint, then on from its own."""

from conjoin.core.checkpoint import load, load_model
from conjoin.core.methods import FineTune

TRAINER = (
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.log_every_n_steps=1",
)


def test_a_checkpoint_is_fine_tuned_resumed_and_probed(run, folder, conjoin):
    pretrained = run / "checkpoints" / "last.ckpt"
    model = ("--model", "FineTune", "--model.checkpoint", pretrained, "--model.freeze_epochs", "1")
    code, _, err = conjoin("fit", *model, "--data", "conjoin_toy.ToyData", "--trainer.max_epochs=1", *TRAINER)
    assert code == 0, err
    last = folder / "runs" / "FineTune" / "version_0" / "checkpoints" / "last.ckpt"
    tuned = load_model(last)
    assert isinstance(tuned, FineTune)
    assert (tuned.task, tuned.head.layers.out_features, tuned.encoder.embed_dim) == ("classification", 2, 5)
    assert load(last)["global_step"] == 4

    pretrained.unlink()
    code, _, err = conjoin("fit", "--ckpt_path", last, "--trainer.max_epochs=2")
    assert code == 0, err
    assert load(last)["global_step"] == 8
    assert (last.parents[1] / "metrics.csv").read_text().splitlines()[0].count("val/accuracy") == 1

    options = ("--budgets", "[null]", "--baselines", "[raw]", "--probes", "[linear]", "--out", "t.json")
    code, out, err = conjoin("probe", "--checkpoint", last, *options)
    assert code == 0, err
    assert "linear" in out


def test_mistakes_are_sentences(run, folder, conjoin):
    data = ("--data", "conjoin_toy.ToyData")
    code, _, err = conjoin("fit", "--model", "FineTune", *data, *TRAINER)
    assert code == 2
    assert "needs the checkpoint of a pre-trained system" in err
    code, _, err = conjoin("fit", "--model", "FineTune", "--model.checkpoint", "no.ckpt", *data, *TRAINER)
    assert code == 2
    assert "no.ckpt" in err
    code, _, err = conjoin("probe", "--task", "regression", "--probes", "[svm]")
    assert code == 2
    assert "no svm probe for a regression task: choose among linear, knn, mlp" in err
