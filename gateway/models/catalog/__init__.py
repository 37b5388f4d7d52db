"""Which models there are, and what they cost: 13 curated cards, and a generated catalog behind them."""
