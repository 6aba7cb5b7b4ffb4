"""The web page: its TypeScript sources in ``source``, the built files in ``static``."""
