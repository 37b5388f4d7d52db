"""What calls cost: prices, estimates and bills. Integers only: micro-USD, tokens, basis points."""
