"""Codes of five bits for the corrections: 64 neighbours share a half-float scale; a code's bits lie in as many planes.

The corrections are small beside the matrices they correct, so what rounding them loses is smaller still, and the same bytes
hold three times the rank.
"""

import numpy as np

GROUP = 64
BITS = 5
LEAST, MOST = -(1 << (BITS - 1)), (1 << (BITS - 1)) - 1
SHRUNK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6)  # parts of the range whose error is compared


def encode(values):
    """(`planes` [..., BITS, n / 8] in bytes, `scales` [..., n / 64] in float16) of [..., n]; n is a multiple of 64."""
    if values.shape[-1] % GROUP or not np.isfinite(values).all():
        raise ValueError(f"{values.shape}: finite rows of a multiple of {GROUP} are needed")
    groups = values.astype(np.float32).reshape(*values.shape[:-1], -1, GROUP)
    widest = np.take_along_axis(groups, np.abs(groups).argmax(-1)[..., None], -1)
    # The range reaches one step further below zero: there goes the widest value, by the scale's sign.
    best, least = None, np.inf
    for shrunk in SHRUNK:
        scales = (shrunk * widest / LEAST).astype(np.float16)
        error = np.square(decoded(rounded(groups, scales), scales) - groups).sum(-1, keepdims=True)
        best = scales if best is None else np.where(error < least, scales, best)
        least = np.minimum(error, least)
    codes = (rounded(groups, best) - LEAST).astype(np.uint8).reshape(values.shape)
    planes = codes[..., None, :] >> np.arange(BITS, dtype=np.uint8)[:, None] & 1
    return np.packbits(planes, axis=-1), best[..., 0]


def decode(planes, scales):
    """What `encode` rounded [..., n] to, in float32."""
    weights = (1 << np.arange(BITS, dtype=np.uint8))[:, None]
    codes = (np.unpackbits(planes, axis=-1) * weights).sum(-2).astype(np.float32) + LEAST
    groups = codes.reshape(*scales.shape, GROUP)
    return decoded(groups, scales[..., None]).reshape(codes.shape)


def rounded(groups, scales):
    """Codes from LEAST to MOST; a scale of zero gives zeros."""
    wide = scales.astype(np.float32)
    return np.clip(np.rint(groups / np.where(wide == 0, 1, wide)), LEAST, MOST) * (wide != 0)


def decoded(codes, scales):
    return codes * scales.astype(np.float32)
