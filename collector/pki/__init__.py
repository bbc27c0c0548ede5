"""The service through which a unit gets its certificate: by a one-time token, later by the certificate that it has."""
