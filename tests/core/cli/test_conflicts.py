# SPDX-License-Identifier: Apache-2.0
from conjoin.core.cli.conflicts import Difference, as_config, differences, table
from conjoin.core.masking import MultiBlockMask
from conjoin.core.optim import Optim
from conjoin.core.spec import describe


def spec(path="conjoin.core.JEPA", **arguments):
    return {"class_path": path, "init_args": arguments}


def test_equal_specs_do_not_differ():
    assert differences(spec(a=1, b=[1, 2]), spec(a=1, b=[1, 2])) == []


def test_values_are_named_by_their_dotted_path():
    left = spec(depth=3, masks=spec("conjoin.core.masking.RandomMask", ratio=0.5), sizes=[1, 2, 3])
    right = spec(depth=4, masks=spec("conjoin.core.masking.RandomMask", ratio=0.6), sizes=[1, 5, 3])
    assert differences(left, right) == [
        Difference("model.depth", 3, 4),
        Difference("model.masks.ratio", 0.5, 0.6),
        Difference("model.sizes[1]", 2, 5),
    ]


def test_another_class_is_one_difference():
    found = differences(spec(a=1), spec("conjoin.core.JointEmbedding", a=2))
    assert found == [Difference("model", "conjoin.core.JEPA", "conjoin.core.JointEmbedding")]


def test_two_paths_of_one_class_are_the_same():
    assert differences(spec(a=1), spec("conjoin.core.methods.jepa.JEPA", a=1)) == []
    assert differences(spec("gone.A"), spec("gone.B"))[0].name == "model"


def test_what_one_side_leaves_open_is_no_difference():
    assert differences(spec(a=1, seed=7), spec(seed=None)) == []
    assert differences(spec(seed=7), spec(seed=8)) == [Difference("model.seed", 7, 8)]
    assert differences(spec(a={"b": 1}), spec(a=None)) == []
    assert differences(spec(a=1), spec(a=None)) == [Difference("model.a", 1, None)]


def test_lists_of_other_lengths_differ_as_a_whole():
    assert differences(spec(a=[1]), spec(a=[1, 2])) == [Difference("model.a", [1], [1, 2])]


def test_a_dataclass_compares_with_its_bare_fields():
    optim = describe(Optim(lr=0.5))
    bare = as_config(optim)
    assert "class_path" not in bare
    assert bare["betas"] == [0.9, 0.999]
    assert differences(spec(optim=optim), spec(optim=bare | {"lr": 0.25})) == [
        Difference("model.optim.lr", 0.5, 0.25)
    ]


def test_a_class_among_alternatives_keeps_its_path():
    found = as_config(spec(masks=describe(MultiBlockMask(targets=2)), scale=(1, 2)))
    assert found["init_args"]["masks"]["class_path"] == "conjoin.core.masking.MultiBlockMask"
    assert found["init_args"]["masks"]["init_args"]["targets"] == 2
    assert found["init_args"]["scale"] == [1, 2]


def test_the_table_stands_in_columns():
    lines = table([Difference("model.depth", 3, 12), Difference("model.a", "long value", None)]).splitlines()
    assert lines[0].split() == ["checkpoint", "command", "line"]
    column = lines[0].index("checkpoint")
    assert [line[column:].split()[0] for line in lines[1:]] == ["3", "long"]
    second = lines[0].index("command")
    assert [line[second:] for line in lines[1:]] == ["12", "None"]
