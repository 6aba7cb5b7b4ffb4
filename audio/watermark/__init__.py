"""An inaudible watermark that carries 32 bits through lossy codecs, other speeds and other keys.

The idea, after the patchwork method (Bender et al., "Techniques for data hiding", 1996) and spread-spectrum
watermarking (Cox et al., "Secure spread spectrum watermarking for multimedia", 1997): the spectrogram is divided into
cells of 90 Hz and 48 ms, and each cell's level is moved by about half a decibel up or down. Four neighbouring cells
make a chip: ``+ -`` over ``- +`` or the reverse. In the difference of their levels, what a song does in time and over
frequency mostly cancels, and the mark does not. A secret or public key gives the signs and the order of the chips. A
quarter of them is the same in every mark and tells the detector where a period begins and at which speed and in which
key the sound plays; the others carry the payload, with an error-correcting code. The pattern repeats every five
seconds. A detector adds up the periods, and the two views of a stereo sound: its middle and its sides.

The mark is a gain that depends on time and frequency, and is turned down where the sound around a cell would not hide
it. So marked stems sum to a marked mix, though not to the last bit to the one that is made by marking their sum. What
is limited, equalised or mixed with something else afterwards stays marked.

`layout`: the cells and chips; `payload`: the 32 bits and their code; `embedding`: `watermarked`; `detection`: `detect`.
"""
