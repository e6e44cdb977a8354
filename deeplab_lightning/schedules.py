"""Learning rate schedules, which map a step to a factor on the base learning rate."""


def poly(step: int, max_steps: int, power: float = 0.9) -> float:
    """Return (1 - step / max_steps) ** power, and 0 from max_steps on (v2, section 4.1.2; v3, section 4.1)."""
    return float(max(0.0, 1.0 - step / max_steps) ** power)


def step_decay(step: int, step_size: int, factor: float = 0.1) -> float:
    """Return factor ** (step // step_size); the rate falls to a tenth every step_size steps (v1, section 5)."""
    return float(factor ** (step // step_size))
