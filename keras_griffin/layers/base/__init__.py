"""How a layer declares its weights, its state and its configuration, and what follows from that."""
