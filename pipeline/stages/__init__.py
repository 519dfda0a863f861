"""One module a stage: `run(config)` does it. Nothing heavy is imported until a stage is called."""
