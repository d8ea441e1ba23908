"""binding/random.h, written a second time: uniform numbers in [0, 1) as a pure function of seed, epoch, index and slot."""

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z):
    z = (z + GOLDEN) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniform(seed, epoch, index, slot):
    key = mix((mix((mix(seed) + epoch) & MASK) + index) & MASK)
    return (mix((key + (slot + 1) * GOLDEN) & MASK) >> 11) * 2.0**-53
