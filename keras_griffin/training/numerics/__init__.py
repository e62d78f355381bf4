"""How the numbers inside a model are, while it trains."""
