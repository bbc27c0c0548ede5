"""The check of a unit: is it ready to measure? For the technician on site, and for the deployment."""
