"""What every implementation of a Protocol must do."""
