"""Separation: from a song to its stems. Every separator stands behind `pipeline.separation.separator`."""
