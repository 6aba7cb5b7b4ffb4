"""RMVPE: a U-Net and a recurrent layer on mel spectrograms (Wei, Cao, Dan and Chen, "RMVPE: A Robust Model for Vocal
Pitch Estimation in Polyphonic Music", Interspeech 2023), in an implementation of our own for its published weights.

`mel` computes the spectrogram, `network` the salience of 360 pitches per frame, `weights` reads and checks the file,
and `tracker` puts them together and decodes the pitch.
"""
