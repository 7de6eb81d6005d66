"""The equations: noise schedules, exact laws, denoisers, and the reverse process. torch and NumPy alone.

Read schedule.py first, then mixture.py, denoiser.py and sampler.py."""
