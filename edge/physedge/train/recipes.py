"""The table of tasks that can be trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from physedge.train.classification import ClassificationRecipe
from physedge.train.options import TrainOptions
from physedge.train.recipe import Recipe
from physedge.train.reconstruction import ReconstructionRecipe
from physedge.train.segmentation import SegmentationRecipe
from physedge_runtime.spec import ModelSpec, Task

RECIPES: Mapping[Task, Callable[[ModelSpec, TrainOptions], Recipe]] = MappingProxyType(
    {
        Task.SEGMENTATION: SegmentationRecipe,
        Task.CLASSIFICATION: ClassificationRecipe,
        Task.RECONSTRUCTION: ReconstructionRecipe,
    }
)


def recipe_for(spec: ModelSpec, options: TrainOptions) -> Recipe:
    """How a network of this declaration is trained."""
    return RECIPES[spec.task](spec, options)
