"""The web page: its TypeScript lies in ``source``, what is built of it in ``static``."""
