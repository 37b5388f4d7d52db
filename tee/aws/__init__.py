"""What SafeRouter needs of AWS: signed requests, credentials, and the key service."""
