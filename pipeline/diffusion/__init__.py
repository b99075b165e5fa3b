"""The diffusion core: timesteps, guidance, timeline of conditions, solvers, the loop. Knows neither models nor takes."""
