"""Effects on a voice. Each is a function of a window of sound and its position, without hidden state, so that
`understudy.audio.windows.map_windows` can run it over a song of any length; each keeps time: what happens at a frame
stays there.
"""
