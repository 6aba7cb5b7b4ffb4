"""How a cover proves what it is: the signed manifest of a file, and the check of any file's marks."""
