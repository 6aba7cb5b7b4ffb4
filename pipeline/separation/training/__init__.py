"""Training the embedded separator's network on songs with known stems."""
