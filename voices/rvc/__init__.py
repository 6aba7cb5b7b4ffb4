"""The engine `rvc`: sings with trained RVC models."""
