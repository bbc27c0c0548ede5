"""From the broker to the store and back."""
