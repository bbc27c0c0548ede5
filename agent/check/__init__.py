"""Is this unit ready to measure? What a technician on site, and the deployment, ask of it."""
