"""Is this server ready to take results? What the operator, and the deployment, ask of it."""
