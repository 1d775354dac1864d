"""From TOML and the command line to checked configurations, schedulers and tasks; networks are the rooms' business."""

from .orders import make_scheduler, parse_group
from .recipes import merged, parse_sizes, parse_time, read_recipe, recipe_path
from .tasks import encoder, evaluation_task, load_tasks

__all__ = [
    "encoder",
    "evaluation_task",
    "load_tasks",
    "make_scheduler",
    "merged",
    "parse_group",
    "parse_sizes",
    "parse_time",
    "read_recipe",
    "recipe_path",
]
