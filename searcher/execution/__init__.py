"""The only place that imports ray.tune: carriers, the scheduler, the search and the runner."""
