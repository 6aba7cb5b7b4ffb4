"""A video of a cover, to upload and share: artwork, title and a waveform along which the time moves."""
