"""Settings: configs/mediaflow.yaml, overridden by the user's file and by variables, checked as one."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from mediaflow.configuration import Section, read_settings

PREFIX = "MEDIAFLOW_"
# Variables that do not belong to this file: folders, variables of tests, settings of other files.
NOT_SETTINGS = {"HOME", "CONFIG", "CONFIGS", "MODELS", "REDIS_URL", "TEST_MEDIA", "DEBUG", "FLEET", "BOX"}


class TaskSettings(Section):
    module: str
    model: str = ""
    workers: int = Field(1, ge=0, le=64)
    batch: int = Field(8, ge=1, le=1000)
    threads: int = Field(2, ge=1, le=256)
    seconds: float = Field(300, gt=0)
    memory_mb: int = Field(2000, ge=100)
    default: bool = True


class PrepareSettings(Section):
    workers: int = Field(1, ge=1, le=64)
    batch: int = Field(16, ge=1, le=1000)
    seconds: float = Field(600, gt=0)
    memory_mb: int = Field(3000, ge=100)


class RetrySettings(Section):
    attempts: int = Field(3, ge=1, le=20)
    seconds: float = Field(5, gt=0)


class IndexSettings(Section):
    snapshot_every: int = Field(2000, ge=1)


class SpaceSettings(Section):
    image: str = "conse"
    text: str = "e5"


class RenditionSettings(Section):
    pixels: int = Field(2000, ge=256)
    frame_seconds: float = Field(2, gt=0)
    max_frames: int = Field(600, ge=1)
    max_pages: int = Field(50, ge=1)
    max_hours: float = Field(12, gt=0, le=1000)
    days: float = Field(7, ge=0)
    gigabytes: float = Field(10, ge=0)


class Settings(Section):
    tasks: dict[str, TaskSettings]
    prepare: PrepareSettings = PrepareSettings()
    index: IndexSettings = IndexSettings()
    retries: RetrySettings = RetrySettings()
    spaces: SpaceSettings = SpaceSettings()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    renditions: RenditionSettings = RenditionSettings()

    def default_tasks(self) -> list[str]:
        """The tasks that run when `submit` names none, in the order of the file."""
        return [name for name, task in self.tasks.items() if task.default]


def all_queues() -> tuple[str, ...]:
    """The names of all queues, in the order in which files pass them."""
    return ("prepare", *load_settings().tasks, "index")


def home() -> Path:
    """The folder that holds all state: MEDIAFLOW_HOME, or the platform's data folder."""
    named = os.environ.get("MEDIAFLOW_HOME")
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("mediaflow"))


def configs() -> Path:
    """The folder of complete configuration files: MEDIAFLOW_CONFIGS, or those that came with mediaflow.

    In a clone mediaflow/configs is a link to configs/; in an installed program it is a folder of the package.
    """
    named = os.environ.get("MEDIAFLOW_CONFIGS")
    return Path(named) if named else Path(__file__).with_name("configs").resolve()


def user_configs() -> Path:
    """The folder of the user's own configuration files: MEDIAFLOW_CONFIG, or `config` in MEDIAFLOW_HOME.

    It need not exist. A file in it holds only the values that differ from those of the file that came with
    mediaflow.
    """
    named = os.environ.get("MEDIAFLOW_CONFIG")
    return Path(named).expanduser().absolute() if named else home() / "config"


def models_home() -> Path:
    """The folder of model weights: MEDIAFLOW_MODELS, or `models` under MEDIAFLOW_HOME."""
    named = os.environ.get("MEDIAFLOW_MODELS")
    return Path(named).expanduser().absolute() if named else home() / "models"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read and check the settings; the user's file overrides the file, and variables override both.

    Raises ConfigError with file and line (or the variable's name) for a wrong key or value.
    """
    files = (configs() / "mediaflow.yaml", user_configs() / "mediaflow.yaml")
    return read_settings(files, Settings, PREFIX, skip=NOT_SETTINGS)
