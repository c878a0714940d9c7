"""How an endoscope lights and shows mucosa: formulas, each with its source.

[H] B. K. P. Horn, Robot Vision, MIT Press 1986, ch. 10 (radiometry).
[R] T. Okatani, K. Deguchi, "Shape reconstruction from an endoscope image by shape from shading technique for a
    point light source at the projection center", Comput. Vis. Image Underst. 66 (1997) 119-131.
[B] J. F. Blinn, "Models of light reflection for computer synthesized pictures", SIGGRAPH 1977.
[J] S. L. Jacques, "Optical properties of biological tissues: a review", Phys. Med. Biol. 58 (2013) R37-R61.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import Floats, dot, unit

F32 = NDArray[np.float32]

# Reflectance of bloodless mucosa, and the relative absorption of haemoglobin, in the camera's red, green and blue:
# strong below 600 nm, weak above (the course of the curves in [J], taken as one number a band).
_BLOODLESS = np.array([0.90, 0.70, 0.46], dtype=np.float32)
_HAEMOGLOBIN = np.array([0.16, 1.0, 1.12], dtype=np.float32)


def irradiance(to_light: Floats, normal: Floats) -> F32:
    """Light that falls on a wall from a point source of unit intensity: `cos(theta) / d^2` [H], [R].

    Args:
        to_light: `(3, point)` vector from the wall to the light, mm.
        normal: `(3, point)` unit normal towards the lumen.

    Returns:
        `(point,)` float32, 0 where the wall faces away, per mm^2.
    """
    squared = np.maximum(dot(to_light, to_light), np.float32(1e-6))
    return np.asarray(np.maximum(dot(to_light, normal), 0.0) / (squared * np.sqrt(squared)), dtype=np.float32)


def beam_falloff(cosine: Floats, exponent: float) -> F32:
    """Intensity of the light guide away from its axis, `cos^n`: a Lambertian exit has n = 1 [H]."""
    return np.exp(np.float32(exponent) * np.log(np.maximum(cosine, np.float32(1e-4))))


def specular(to_light: Floats, to_eye: Floats, normal: Floats, shininess: float) -> F32:
    """Mirror-like part of the reflection on wet mucosa: Blinn's lobe `(n . h)^s (s + 2) / (2 pi)` [B].

    Args:
        to_light: `(3, point)` unit vector to the light.
        to_eye: `(3, point)` unit vector to the camera.
        normal: `(3, point)` unit normal, roughness of the film included.
        shininess: Exponent s; larger is a narrower highlight.

    Returns:
        `(point,)` float32, 0 or more.
    """
    cosine = dot(unit(to_light + to_eye), normal)
    lobe = np.exp(np.float32(shininess) * np.log(np.maximum(cosine, np.float32(1e-4))))
    return np.asarray(lobe * np.float32((shininess + 2.0) / (2.0 * np.pi)), dtype=np.float32)


def mucosa_albedo(blood: F32) -> F32:
    """Reflectance of tissue that holds `blood`: Beer-Lambert, `rho_c exp(-epsilon_c b)` [J].

    Args:
        blood: `(point,)` haemoglobin times mean path, in units of the green band's absorption; 0 or more.

    Returns:
        `(3, point)` float32 in 0..1: red, green, blue, linear.
    """
    return np.asarray(_BLOODLESS[:, None] * np.exp(-_HAEMOGLOBIN[:, None] * blood[None]), dtype=np.float32)


def tone(linear: F32) -> F32:
    """Exposure with a soft shoulder and the display's curve, `(x / sqrt(1 + x^2))^(1/2.2)`: 0..1 for any x >= 0."""
    shouldered = linear / np.sqrt(1.0 + linear * linear)
    return np.asarray(
        np.exp(np.float32(1.0 / 2.2) * np.log(np.maximum(shouldered, np.float32(1e-7)))), dtype=np.float32
    )
