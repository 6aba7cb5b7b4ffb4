"""Models on disk and in memory: the catalogue, what is installed, how it gets here, and what is kept loaded."""

from understudy.models.catalogue import Model, catalogue
from understudy.models.hashes import models_folder
from understudy.models.installed import Weights, installed, require, usable
from understudy.models.warm import warm

__all__ = ["Model", "Weights", "catalogue", "installed", "models_folder", "require", "usable", "warm"]
