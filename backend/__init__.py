"""Network to engine to results: passes, fusion groups, providers' tactics, the plan, the engine file, the runtime."""
