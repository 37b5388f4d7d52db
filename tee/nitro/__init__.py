"""AWS NitroTPM: attestation documents as evidence beside a report."""
