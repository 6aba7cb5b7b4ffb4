"""Presets and the catalogue of models: YAML files, shipped with the package."""
