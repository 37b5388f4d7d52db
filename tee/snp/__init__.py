"""AMD SEV-SNP: product, report, certificates, appraisal. Pure."""
