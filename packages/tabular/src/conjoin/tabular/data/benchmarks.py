# SPDX-License-Identifier: Apache-2.0
"""The six benchmarks of T-JEPA from the files that its release reads.

Adult, Helena, Jannis, ALOI, California Housing and Higgs, of the family gathered by Gorishniy et al. (arXiv
2106.11959). Files are named as there; none of them is part of conjoin. The published runs split at random (a
tenth for testing); so do these modules, with a validation share of its own.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from conjoin.tabular.data.module import Source, TableModule, Task
from conjoin.tabular.data.readers import Cells, read_arff, read_csv
from conjoin.tabular.schema import Scaling
from conjoin.tabular.table import Table, numbers, words

__all__ = ("ALOI", "Adult", "Benchmark", "CaliforniaHousing", "Helena", "Higgs", "Jannis")


class Benchmark(TableModule):
    """Base of the six: a file in ``root`` with known columns.

    Args:
        root: Folder with the file, or the file.
        scaling: Of numeric columns; the release scales to 0 ... 1.
        statistics: Rows on which the schema is fitted; the release takes all.
        pretrain_rows: Rows of the training loader; the release takes all.
        val_fraction: Share of rows held out for choices.
        test_fraction: Share of rows held out for the final figure, a tenth in the paper.
        split_seed: Of that split, apart from the run's seed.
        batch_size: Rows per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Rows per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of the order; the run's seed if not given.

    Raises:
        FileNotFoundError: If the file is missing.
    """

    file: ClassVar[str]
    task_of_set: ClassVar[Task] = "classification"
    numeric_count: ClassVar[int]
    categorical_places: ClassVar[tuple[int, ...]] = ()  # among the features
    target_last: ClassVar[bool] = False
    column_names: ClassVar[tuple[str, ...]] = ()  # where the file's own are fixed

    def __init__(
        self,
        root: str | Path,
        *,
        scaling: Scaling = "minmax",
        statistics: Literal["train", "all"] = "train",
        pretrain_rows: Literal["train", "all"] = "train",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 512,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            self.task_of_set,
            scaling=scaling,
            statistics=statistics,
            pretrain_rows=pretrain_rows,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
        )
        root = Path(root)
        self.path = root if root.is_file() else root / self.file
        if not self.path.is_file():
            raise FileNotFoundError(
                f"{root} holds no {self.file}, the file of {type(self).__name__}: put it there or give its "
                "path."
            )

    def cells(self) -> Cells:
        """The file's cells by column; copies of these CSV files go round with and without a line of names."""
        return read_csv(self.path, header=None) if self.path.suffix != ".arff" else read_arff(self.path)[0]

    def read(self) -> Source:
        """Features in the file's order and the target."""
        cells = self.cells()
        names = list(cells)
        wanted = self.numeric_count + len(self.categorical_places) + 1
        if len(names) != wanted:
            raise ValueError(
                f"{self.path} has {len(names)} columns; {type(self).__name__} has {wanted}, the target among "
                "them."
            )
        for found, known in zip(names, self.column_names, strict=False):
            if found != known:
                raise ValueError(
                    f"{self.path} has the column {found!r} where the file of {type(self).__name__} has "
                    f"{known!r}: rename and order the columns as there, or read it with TableFile."
                )
        target = names.pop(-1 if self.target_last else 0)
        categorical = [names[place] for place in self.categorical_places]
        table = Table.from_cells(
            {name: cells[name] for name in names},
            categorical=categorical,
            numeric=[name for name in names if name not in categorical],
        )
        return Source(table, self.labels(cells[target]))

    def labels(self, cells: Sequence[Any]) -> NDArray[Any]:
        """The target's values."""
        return words(cells)


class Adult(Benchmark):
    """Adult, ``adult.csv``: 48,842 rows, 6 numeric and 8 categorical columns; income above 50,000 dollars.

    A missing value ("?") is a category of its own, as in the release. Arguments are those of
    :class:`Benchmark`.
    """

    file = "adult.csv"
    numeric_count = 6
    categorical_places = (1, 3, 5, 6, 7, 8, 9, 13)
    target_last = True
    column_names = (
        "age", "workclass", "fnlwgt", "education", "educational-num", "marital-status", "occupation",
        "relationship", "race", "gender", "capital-gain", "capital-loss", "hours-per-week", "native-country",
        "income",
    )  # fmt: skip


class Helena(Benchmark):
    """Helena, ``helena.arff`` (OpenML 41169): 65,196 rows, 27 numeric columns, 100 classes.

    Arguments are those of :class:`Benchmark`.
    """

    file = "helena.arff"
    numeric_count = 27


class Jannis(Benchmark):
    """Jannis, ``jannis.arff`` (OpenML 41168): 83,733 rows, 54 numeric columns, 4 classes.

    Arguments are those of :class:`Benchmark`.
    """

    file = "jannis.arff"
    numeric_count = 54


class ALOI(Benchmark):
    """ALOI, ``aloi.csv``: 108,000 rows, 128 numeric columns, 1,000 classes (OpenML's of 2 is another).

    Arguments are those of :class:`Benchmark`.
    """

    file = "aloi.csv"
    numeric_count = 128
    target_last = True


class Higgs(Benchmark):
    """Higgs, ``higgs.csv``: 98,050 rows, 24 numeric and 4 categorical columns, 2 classes.

    Arguments are those of :class:`Benchmark`.
    """

    file = "higgs.csv"
    numeric_count = 24
    categorical_places = (8, 12, 16, 20)


class CaliforniaHousing(Benchmark):
    """California Housing, ``housing.csv``: 8 numeric columns, median house value by RMSE.

    As in the release ``ocean_proximity`` is left out, and so are the 207 rows without ``total_bedrooms``.
    Arguments are those of :class:`Benchmark`.
    """

    file = "housing.csv"
    task_of_set: ClassVar[Task] = "regression"
    numeric_count = 8
    target_last = True
    column_names = (
        "longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population",
        "households", "median_income", "median_house_value",
    )  # fmt: skip

    def cells(self) -> Cells:
        """The cells of complete rows."""
        cells = read_csv(self.path)
        if "total_bedrooms" not in cells or "ocean_proximity" not in cells:
            raise ValueError(
                f"{self.path} lacks total_bedrooms or ocean_proximity: it is not the file of camnugent's set."
            )
        whole = [bool(cell.strip()) for cell in cells["total_bedrooms"]]
        return {
            name: tuple(itertools.compress(values, whole))
            for name, values in cells.items()
            if name != "ocean_proximity"
        }

    def labels(self, cells: Sequence[Any]) -> NDArray[Any]:
        """House values in dollars."""
        return numbers(cells, "median_house_value")
