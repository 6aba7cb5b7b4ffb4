"""How well separators separate: songs whose stems are known, the field's figures, and tables of several models."""
