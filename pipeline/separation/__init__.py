"""Separation: from a song to its stems. Every separator stands behind `understudy.pipeline.separation.separator`."""
