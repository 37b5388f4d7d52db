"""Expected launch measurements of SEV-SNP guests."""
