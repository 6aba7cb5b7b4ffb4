"""The embedded separator: vocals and instrumental on any machine, without any file but the program's own."""
