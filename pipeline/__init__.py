"""From a preset to takes: spec, graph, executor, diffusion core, models, store."""
