"""What is proven: parsing and judging evidence, keys, receipts. Never imports the gateway."""
